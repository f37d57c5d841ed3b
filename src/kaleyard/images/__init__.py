"""From a step to an image in an OCI registry: recipes in, images by digest out.

May import `reporting`, `records`, `compiler` and what lies below them.
"""
