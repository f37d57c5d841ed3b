"""Does it run there? Images of steps, the registry they go to, and what names them."""
