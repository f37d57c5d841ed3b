"""A pipeline run on a Kubeflow Pipelines server: a package in, a run or a schedule out, followed to its end.

May import `images`, `records`, `compiler` and what lies below them.
"""
