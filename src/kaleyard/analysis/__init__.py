"""Which step makes what each step uses: an annotated notebook in, its `Pipeline` and what the rules ask about out.

May import `notebook` and what lies below it.
"""
