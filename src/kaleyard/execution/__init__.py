"""A pipeline run on this machine: a `Pipeline` and values in; a run's folder, its record and its report out.

May import `reporting`, `records`, `compiler` and what lies below them.
"""
