"""Faults: cells and lines that do not work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field
from pydantic_core import InitErrorDetails

from cimsim.profile.base import issue
from cimsim.profile.effect import Effect
from cimsim.profile.fields import LARGEST, Fraction, Index, NonNegative


class StuckCells(Effect):
    """Cells with a fixed conductance.

        g = g_stuck with probability min(1, strength * rate), per cell, once per chip
        g_stuck = g_min, g_max, or uniform between the two

    Several such effects never apply to the same cell, so that each keeps its rate. Units: rate is a
    fraction of all cells.
    Source: textbook model; the rate comes from the device.
    """

    title: ClassVar[str] = "stuck cells"

    kind: Literal["stuck"] = "stuck"
    at: Literal["g_min", "g_max", "random"] = Field(
        description="conductance at which the cells are stuck"
    )
    rate: Fraction = Field(description="fraction of stuck cells")


class DeadLines(Effect):
    """Whole rows or columns that carry no current.

        row (all of its cells in a tile) or column (one bit line of a tile) open: g = 0,
        with probability min(1, strength * rate) per line, once per chip

    Open lines take precedence over all other faults of their cells. Units: rates are fractions of
    all lines.
    Source: textbook model; the rates come from the device.
    """

    title: ClassVar[str] = "dead lines"

    kind: Literal["dead-lines"] = "dead-lines"
    row_rate: Fraction = Field(default=0.0, description="fraction of open rows (word lines)")
    column_rate: Fraction = Field(default=0.0, description="fraction of open columns (bit lines)")


class FaultMap(Effect):
    """Known bad cells of a tile, the same on every tile and chip.

        g[row, column, device] = g_uS for every entry of the map, if strength > 0

    Rows and columns count from 0 within a tile; device 0 is the first cell of a weight (the
    positive cell of a pair), device 1 the second, which only pairs have, devices 2 and 3 are those
    of the second pair, and so on. A cell has one conductance. The reference of an
    ``offset-column`` is the last column of its tile, whatever the width of the layer. A profile may
    give ``file: map.csv`` (columns row, column, device, g_uS) instead of ``cells``; its path is
    relative to the profile's folder.
    Units: g in uS.
    Source: the measurement.
    """

    random: ClassVar[bool] = False
    title: ClassVar[str] = "faults of a map"

    kind: Literal["map"] = "map"
    cells: tuple[tuple[Index, Index, Index, NonNegative], ...] = Field(
        description="bad cells: row, column, device, conductance in uS"
    )

    @classmethod
    def _issues_of_raw(cls, data: Mapping[str, Any]) -> Iterator[InitErrorDetails]:
        yield from super()._issues_of_raw(data)
        # Here and not in a validator of the field, so that an issue has the line of its entry.
        cells = data.get("cells")
        held_uS: dict[tuple[Any, ...], Any] = {}
        for number, entry in enumerate(cells if isinstance(cells, (list, tuple)) else ()):
            if not _is_entry(entry):
                continue  # has another issue
            *cell, g_uS = entry
            first_uS = held_uS.setdefault(tuple(cell), g_uS)
            if first_uS != g_uS:
                row, column, device = cell
                yield issue(
                    "repeated_cell",
                    f"row {row}, column {column}, device {device} already has {first_uS:g} uS in "
                    f"this map; remove that entry or this one ({g_uS:g} uS)",
                    ("cells", number),
                )


def _is_entry(entry: Any) -> bool:
    return (
        isinstance(entry, (list, tuple))
        and len(entry) == 4
        and all(isinstance(part, (int, float)) and abs(part) <= LARGEST for part in entry)
    )


Faults = Annotated[StuckCells | DeadLines | FaultMap, Field(discriminator="kind")]
