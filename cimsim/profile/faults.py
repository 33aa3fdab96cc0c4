"""Faults: cells and lines that do not work, whatever is written to them."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from cimsim.profile.effect import Effect
from cimsim.profile.fields import Fraction, Index, NonNegative


class StuckCells(Effect):
    """Cells that hold one conductance for ever.

        g = g_stuck with probability min(1, strength * rate), per cell, once per chip
        g_stuck = g_min, g_max, or uniform between the two

    Several such effects exclude each other, so that each keeps its rate. Units: rate is a fraction
    of all cells.
    Source: textbook model; the rate is the device's.
    """

    kind: Literal["stuck"] = "stuck"
    at: Literal["g_min", "g_max", "random"] = Field(description="where the cells are stuck")
    rate: Fraction = Field(description="fraction of cells")


class DeadLines(Effect):
    """Whole rows or columns that carry no current.

        row (all of its cells in a tile) or column (one bit line of a tile) open: g = 0,
        with probability min(1, strength * rate) per line, once per chip

    An open line stays open whatever else is wrong with its cells. Units: rates are fractions of all
    lines.
    Source: textbook model; the rates are the device's.
    """

    kind: Literal["dead-lines"] = "dead-lines"
    row_rate: Fraction = Field(default=0.0, description="fraction of rows (word lines)")
    column_rate: Fraction = Field(default=0.0, description="fraction of columns (bit lines)")


class FaultMap(Effect):
    """Known bad cells of a tile, the same on every tile and chip.

        g[row, column, device] = g_uS for every entry of the map, if strength > 0

    Rows and columns count from 0 within a tile; device 0 is the first cell of a weight (the
    positive one of a pair), 1 the second. In a file, ``file: map.csv`` with the columns row,
    column, device, g_uS may stand for ``cells``; its path starts at the profile's folder.
    Units: g in uS.
    Source: the measurement.
    """

    random: ClassVar[bool] = False

    kind: Literal["map"] = "map"
    cells: tuple[tuple[Index, Index, Index, NonNegative], ...] = Field(
        description="bad cells: row, column, device, conductance in uS"
    )


Faults = Annotated[StuckCells | DeadLines | FaultMap, Field(discriminator="kind")]
