"""Long experiments, each one command; their results stand in benchmarks/results/."""
