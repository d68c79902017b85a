"""One case a file; each defines `CASE`. A new file is found by its name."""
