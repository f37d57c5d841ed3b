"""What ran and what was built, as data that outlives it: run.json, images, past runs side by side.

May import `compiler` and what lies below it.
"""
