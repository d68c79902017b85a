"""Published comparisons and comparisons of this library's own, each run by one command: `quickstudy reproduce`."""
