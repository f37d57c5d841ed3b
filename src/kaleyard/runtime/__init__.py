"""All that enters a step, in each of the three places: executor input in, papermill, executor output out.

May import `errors` alone: it is what an image holds of this package.
"""
