"""What lives in a process and in no name: settings of modules, seeds, and the state of random numbers."""
