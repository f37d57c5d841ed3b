"""Whether notebooks still give the outputs that they store: each runs in a kernel, and nbval compares.

May import `execution` and what lies below it.
"""
