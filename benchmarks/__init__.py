"""The benchmark: Quickstudy and other libraries do the same work, in turn, in one run. See docs/benchmarks.md."""
