"""The code that runs in a step, in all three places: executor input in, papermill, executor output out.

May import `errors` alone: an image holds only this part of the package.
"""
