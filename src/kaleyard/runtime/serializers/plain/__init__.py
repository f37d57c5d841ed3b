"""Python values as readable JSON, and back."""
