"""Published tables, reproduced line by line: one command per paper.

``python -m benchmarks.papers.NAME`` measures what a paper published and writes
``benchmarks/results/papers/NAME.json`` and ``NAME.md``. The page *Validation* of the documentation
is made from all of these files.
"""
