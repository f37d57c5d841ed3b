"""The rules: one class each, in one file per topic."""
