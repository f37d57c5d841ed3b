"""What a piece of code does with names: statements in; reads, bindings, changes and aliases out. It runs nothing."""
