"""What the notebook says: cells and tags in, a `Pipeline` and its findings out."""
