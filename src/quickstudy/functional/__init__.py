"""Pure mathematics and plumbing shared by the methods."""
