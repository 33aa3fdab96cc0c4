"""Tables as CSV, which a spreadsheet shows and does not compute."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence

_FORMULA = ("=", "+", "-", "@", "\t", "\n")
_NUMBER = re.compile(r"[-+]?[\d.][\d.eE+-]*( ± [\d.eE+-]+)?( ?%)?|[-+]?(inf|nan)")


def table_csv(table: Iterable[Sequence[object]]) -> str:
    """A table as CSV.

    A text that a spreadsheet would take for a formula begins with an apostrophe, which marks it as
    text; numbers stay as they are.

    >>> table_csv([["run", "lost"], ["=1+1", -0.5]])
    "run,lost\\n'=1+1,-0.5\\n"
    """
    text = io.StringIO()
    rows = ([_cell(value) for value in row] for row in table)
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, str):
        value = value.replace("\r\n", "\n").replace("\r", "\n")  # which would end the row
        value = value.replace("\0", "\\0")  # which Python 3.10 cannot write
    if isinstance(value, str) and value.startswith(_FORMULA) and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return value
