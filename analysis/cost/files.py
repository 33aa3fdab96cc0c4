"""The cost of a run, in its folder."""

from __future__ import annotations

from pathlib import Path

from cimsim.analysis.cost.cost import Cost
from cimsim.analysis.cost.draw import draw_cost
from cimsim.analysis.study import read_result, write_result

NAME = "cost"


def write_cost(run: Path, cost: Cost) -> list[Path]:
    """Keep ``cost`` in the folder of the run: JSON, table and picture."""
    return write_result(run / NAME, NAME, cost, draw_cost(cost))


def read_cost(run: Path) -> Cost:
    """The cost of the run in the folder ``run``.

    Raises:
        CimsimError: if there is none, or it is damaged.
    """
    return read_result(run / NAME / f"{NAME}.json", Cost, f"cimsim cost {run}")
