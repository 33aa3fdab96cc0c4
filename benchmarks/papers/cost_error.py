"""The uncertainty of the cost model, from its own comparison with published macros."""

from __future__ import annotations

import math
import re
from pathlib import Path

PAGE = Path(__file__).parent.parent.parent / "docs" / "guide" / "cost.md"
_COLUMNS = 5


def deviations(text: str) -> list[float]:
    """Deviations in %, of rows ``| macro | published | ours | off by | how |`` called predicted."""
    found: list[float] = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) == _COLUMNS and cells[4].startswith(("predicted", "missed")):
            off = cells[3].replace("−", "-").replace("*", "").replace("±", "")  # noqa: RUF001
            found += [float(number) for number in re.findall(r"[+-]?\d+", off)]
    return found


def model_error() -> float:
    """Root mean square of the relative deviations of predicted values, as a fraction."""
    off = deviations(PAGE.read_text(encoding="utf-8"))
    return math.sqrt(sum(each**2 for each in off) / len(off)) / 100
