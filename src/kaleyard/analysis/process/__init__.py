"""State of a process that no name holds: module settings, seeds, and random generators."""
