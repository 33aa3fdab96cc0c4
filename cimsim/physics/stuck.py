"""Faults: cells and lines that do not work."""

from __future__ import annotations

from functools import singledispatch
from typing import NamedTuple

import torch
from torch import Tensor

from cimsim.profile import ArraySpec, CellSpec, DeadLines, FaultMap, StuckCells
from cimsim.sampling import uniform
from cimsim.seeds import generator


class _Place(NamedTuple):
    """Context of a fault: the cell and array, and its position in ``cell.faults``."""

    cell: CellSpec
    array: ArraySpec
    position: int


_Broken = tuple[Tensor, Tensor | None]
"""Conductances in µS, and a mask of the cells on open lines (None if no line can be open)."""


def broken_uS(g_uS: Tensor, cell: CellSpec, array: ArraySpec, seed: int) -> _Broken:
    """Apply all faults in order to ``g_uS [devices, tiles, columns, rows]``.

    A later fault of a cell replaces an earlier one, except that open lines stay open. A layer wider
    than ``array.columns``, with its references, occupies several adjacent physical tiles.

    Returns:
        Conductances in µS, and a mask of the cells that carry no current, or None.
    """
    dead: Tensor | None = None
    for index, effect in enumerate(cell.faults):
        if effect.strength:
            draws = generator(seed, "faults", index, device=g_uS.device)
            g_uS, more = _faulty(effect, g_uS, _Place(cell, array, index), draws)
            dead = more if dead is None else dead if more is None else dead | more
    return (g_uS, None) if dead is None else (g_uS.masked_fill(dead, 0.0), dead)


@singledispatch
def _faulty(effect: object, g_uS: Tensor, place: _Place, draws: torch.Generator) -> _Broken:
    raise NotImplementedError(f"no physics for fault {type(effect).__name__}")


@_faulty.register
def _(effect: StuckCells, g_uS: Tensor, place: _Place, draws: torch.Generator) -> _Broken:
    cell = place.cell
    # Later effects replace some of these cells, so a higher probability keeps the rate.
    later = (other for other in cell.faults[place.position + 1 :] if isinstance(other, StuckCells))
    left = 1.0 - sum(_chance(other.rate, other.strength) for other in later)
    chance = _chance(effect.rate, effect.strength)
    stuck = uniform(g_uS, draws) < (chance / left if chance < left else 1.0)
    if effect.at == "random":
        held = cell.g_min_uS + (cell.g_max_uS - cell.g_min_uS) * uniform(g_uS, draws)
    else:
        held = g_uS.new_full((), cell.g_min_uS if effect.at == "g_min" else cell.g_max_uS)
    return torch.where(stuck, held, g_uS), None


@_faulty.register
def _(effect: DeadLines, g_uS: Tensor, place: _Place, draws: torch.Generator) -> _Broken:
    devices, tiles, columns, rows = g_uS.shape
    # Both cells of a pair and all columns of a physical tile share a word line.
    tile_of_column = torch.arange(columns, device=g_uS.device) // place.array.columns
    word_lines = (tiles, -(-columns // place.array.columns), rows)
    bit_lines = (devices, tiles, columns, 1)
    dead_rows, dead_columns = (
        uniform(g_uS, draws, lines) < _chance(rate, effect.strength)
        for lines, rate in ((word_lines, effect.row_rate), (bit_lines, effect.column_rate))
    )
    return g_uS, dead_rows[:, tile_of_column] | dead_columns


@_faulty.register
def _(effect: FaultMap, g_uS: Tensor, place: _Place, draws: torch.Generator) -> _Broken:
    devices, _, columns, rows = g_uS.shape
    array = place.array
    shape = (devices, array.columns, array.rows)
    held = torch.full(shape, torch.nan, dtype=g_uS.dtype, device="cpu")
    for row, column, device, value_uS in effect.cells:
        held[device, column, row] = value_uS
    column_on_tile = torch.arange(columns, device="cpu") % array.columns
    if array.mapping == "offset-column":  # a reference, also where the tile is not full
        column_on_tile[-1] = array.columns - 1
    mapped = held[:, column_on_tile, :rows].to(g_uS.device).unsqueeze(1)
    return torch.where(mapped.isnan(), g_uS, mapped), None


def _chance(rate: float, strength: float) -> float:
    return min(1.0, strength * rate)
