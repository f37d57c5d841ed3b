"""Effects of code on names: statements in; reads, bindings, changes and aliases out. No code is run."""
