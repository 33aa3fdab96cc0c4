"""A report on runs: one page of HTML that needs nothing else.

`blocks` are what it consists of, `sections` make them of the runs, `page` writes them down,
`commands` says how to get them again.
"""

from cimsim.analysis.report.page import report

__all__ = ["report"]
