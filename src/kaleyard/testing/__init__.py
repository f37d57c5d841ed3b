"""Whether the notebooks still say what they said: each run in a kernel, its outputs compared by nbval."""
