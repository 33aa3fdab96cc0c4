"""What reads of a layer's cells take: programmed conductances times the squares of drives."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from cimsim.analysis.cost.workload import AnalogWork
from cimsim.array import Tiling
from cimsim.array.chip import hold
from cimsim.circuits.mapping import Mapping
from cimsim.profile import Cost, Profile


class ReadPower(NamedTuple):
    """Means over the vectors of a layer and the pulses of each.

    Attributes:
        conductance_uS: sum of ``u^2 G`` over the layer's cells.
        rows: sum of ``u^2`` over its rows, those of every tile.
    """

    conductance_uS: float
    rows: float


@torch.no_grad()
def read_power(work: AnalogWork, profile: Profile, blocks: int) -> ReadPower:
    """What reads of ``work`` on the device of ``profile`` take, whose columns lie on ``blocks``
    tiles side by side.

    Cells are those of the chip that the weights are programmed on, and inputs those that were
    seen; see :class:`cimsim.profile.CellRead` for what stands for either where it is unknown.
    """
    tiling = work.tiling(profile.array)
    squares = _squares(work, profile, tiling)
    conductance_uS = _conductances(work, profile, tiling, blocks)
    total = (squares.to(conductance_uS) * conductance_uS).sum()
    return ReadPower(float(total), float(squares.sum()) * blocks)


def _squares(work: AnalogWork, profile: Profile, tiling: Tiling) -> Tensor:
    """``u^2`` of each row of each tile, ``[tiles, rows]``; 0 for rows without weights."""
    serial, read = profile.dac.bit_serial, (profile.cost or Cost()).read
    outputs, *inputs = work.weight_shape
    if work.drive is not None:
        known = work.drive.ones if serial else work.drive.levels
        groups = len(known)
        by_output = known.repeat_interleave(outputs // groups, 0).reshape(outputs, *inputs)
    else:
        uniform = 1 / 2 if serial else 1 / 3
        stated = read.mean_square_input
        by_output = torch.full(work.weight_shape, uniform if stated is None else stated)
    return tiling.to_cells(by_output)[:, 0]


def _conductances(work: AnalogWork, profile: Profile, tiling: Tiling, blocks: int) -> Tensor:
    """Sum of ``G`` in µS over the cells at each row of each tile, ``[tiles, rows]``."""
    mapping = Mapping(profile.cell, profile.array)
    held_reference = mapping.reference and not mapping.digital_reference
    if work.weight is None:
        stated = (profile.cost or Cost()).read.mean_conductance
        cell = profile.cell
        share = 1 / 4 if mapping.paired else 1 / 2  # of the span; one cell of a pair rests
        mean_uS = abs(cell.g_min_uS) * (not cell.signed) + share * (
            cell.g_max_uS if cell.signed else mapping.span_uS
        )
        if stated is not None:
            mean_uS = stated * cell.g_max_uS
        layout = tiling.to_cells(torch.ones(work.weight_shape))
        tiles, columns, rows = layout.shape
        cells = columns * profile.array.slices * (2 if mapping.paired else 1)
        return torch.full((tiles, rows), mean_uS * (cells + blocks * held_reference))
    seed, age_s = work.chip
    g_uS = hold(tiling.to_cells(work.weight().float()), profile, seed, age_s).g_uS.abs().sum(0)
    if held_reference:  # on every tile side by side
        g_uS[:, -1] *= blocks
    return g_uS.sum(1)
