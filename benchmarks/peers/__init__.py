"""The other implementations, one a file; each defines `build(problem, context)`."""
