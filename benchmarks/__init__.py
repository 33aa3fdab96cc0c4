"""Long experiments, each one command; their results are in benchmarks/results/."""
