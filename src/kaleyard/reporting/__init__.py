"""What people see of runs and builds: the terminal's tables, the report's pages, the graph.

May import `records`, `compiler` and what lies below them.
"""
