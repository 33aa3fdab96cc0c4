"""A report on subjects: one HTML page without dependencies.

`blocks` are its elements, `sections` make them from the subjects, `page` writes them, `commands`
lists the commands that compute the results again.
"""

from cimsim.analysis.report.page import report

__all__ = ["report"]
