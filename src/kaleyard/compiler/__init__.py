"""The files of a pipeline: a `Pipeline` in; step notebooks, Dockerfiles, components and the pipeline package out.

May import `notebook` and what lies below it.
"""
