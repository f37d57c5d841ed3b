"""Pickles with the same bytes for the same value, and the definitions that values refer to."""
