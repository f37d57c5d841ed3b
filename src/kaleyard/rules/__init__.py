"""The checks: a notebook in, findings out. No kernel starts, and nothing from the notebook is imported.

May import `analysis`, `notebook` and what lies below them.
"""
