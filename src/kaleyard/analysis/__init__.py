"""Which step makes what each step uses: an annotated notebook in; its `Pipeline` and facts for the rules out.

May import `notebook` and what lies below it.
"""
