"""Which files the code of a step reads and writes, and which step takes them from which."""
