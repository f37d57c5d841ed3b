"""The rules, a small class each, in a file for each thing that they are about."""
