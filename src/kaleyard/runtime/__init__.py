"""What runs inside a step, in all three places: executor input in, papermill, executor output out.

Imports nothing else of ours but `kaleyard.errors`, and neither kfp nor kale: it is all that enters a step's image.
"""
