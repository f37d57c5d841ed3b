"""Processes that have imported what steps need, and fork for each: they know modules, and nothing of pipelines."""
