"""Fork servers: processes that have imported what steps need, and fork for each. They know modules, not pipelines."""
