"""The verbs as functions, a file for each family of verbs: what the command line, notebooks and scripts call.

The package's own top level, `kaleyard.run(...)`, hands them out.
"""
