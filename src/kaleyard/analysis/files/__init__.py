"""Which files the code of a step reads and writes, and from which step it gets them."""
