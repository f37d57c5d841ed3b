"""What is made of a pipeline: step notebooks, Dockerfiles, components, the pipeline package."""
