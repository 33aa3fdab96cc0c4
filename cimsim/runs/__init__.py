"""Finished training runs as subjects of analysis, and reports about them.

This package is to the right of :mod:`cimsim.training` and :mod:`cimsim.analysis`, neither of
which imports the other, and joins them.

>>> from cimsim.runs import RunSubject
"""

from cimsim.runs.noise_search import search, train
from cimsim.runs.subject import RunSubject, open_run

__all__ = ["RunSubject", "open_run", "search", "train"]
