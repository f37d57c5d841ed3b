"""The kernel of a step and papermill's engine for it: a step notebook in, the executed notebook out."""
