"""Power of reads of a layer's cells: programmed conductances times the squares of drives."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from cimsim.analysis.cost.workload import AnalogWork
from cimsim.array import Tiling, add_spares, shape_with_spares
from cimsim.array.chip import program_and_age
from cimsim.circuits.mapping import Mapping
from cimsim.profile import CostRates, Profile

_WEIGHTS = 4096  # points at which uniform weights are sampled


class ReadPower(NamedTuple):
    """Means over the vectors of a layer and the pulses of each.

    Attributes:
        conductance_uS: sum of ``d G`` over the layer's cells, with ``d`` as
            :class:`cimsim.profile.CellRead` has it.
        rows: sum of ``d`` over its rows, those of every tile.
    """

    conductance_uS: float
    rows: float


@torch.no_grad()
def read_power(work: AnalogWork, profile: Profile, blocks: int) -> ReadPower:
    """Compute the power of reads of ``work`` on ``profile``, whose columns are on ``blocks``
    tiles in parallel.

    Cells are those of the programmed chip, and inputs those of the workload; see
    :class:`cimsim.profile.CellRead` for the substitutes if either is unknown.
    """
    tiling = work.tiling(profile.array)
    drives = _drives(work, profile, tiling)
    conductances_uS = _conductances(work, profile, tiling, blocks)
    total = (drives.to(conductances_uS) * conductances_uS).sum()
    return ReadPower(float(total), float(drives.sum()) * blocks)


def _drives(work: AnalogWork, profile: Profile, tiling: Tiling) -> Tensor:
    """``d`` of each row of each tile, ``[tiles, rows]``; 0 for rows without weights."""
    read = (profile.cost or CostRates()).read
    by_duration = "duration" in (read.coding, profile.dac.coding)
    spares = profile.array.spare_columns
    outputs, *inputs = held = shape_with_spares(work.weight_shape, tiling.groups, spares)
    if work.drive is None:
        uniform = 1 / 2 if profile.dac.bit_serial or by_duration else 1 / 3
        mean = uniform if read.mean_drive is None else read.mean_drive
        everywhere = torch.tensor(mean, dtype=torch.float32, device="cpu").expand(held)
        return tiling.to_cells(everywhere)[:, 0]
    of_levels = work.drive.sizes if by_duration else work.drive.squares
    known = work.drive.ones if profile.dac.bit_serial else of_levels
    by_output = known.repeat_interleave(outputs // len(known), 0)
    return tiling.to_cells(by_output.reshape(outputs, *inputs))[:, 0]


def _conductances(work: AnalogWork, profile: Profile, tiling: Tiling, blocks: int) -> Tensor:
    """Sum of ``G`` in µS over the cells at each row of each tile, ``[tiles, rows]``."""
    mapping, spares = Mapping(profile.cell, profile.array), profile.array.spare_columns
    if work.weight is None:
        mean_uS = _mean_uS(profile, mapping)
        shape = shape_with_spares(work.weight_shape, tiling.groups, spares)
        empty = torch.empty(shape, device="meta")
        tiles, columns, rows = tiling.to_cells(empty).shape
        cells = columns * profile.array.slices * mapping.devices
        total_uS = mean_uS * (cells + blocks * mapping.reference)
        return torch.full((tiles, rows), total_uS, dtype=torch.float32, device="cpu")
    weight = add_spares(work.weight().float(), tiling.groups, spares)
    g_uS = program_and_age(tiling.to_cells(weight), profile, *work.chip).g_uS.abs().sum(0)
    if mapping.reference:  # on every tile side by side
        g_uS[:, -1] *= blocks
    return g_uS.sum(1)


def _mean_uS(profile: Profile, mapping: Mapping) -> float:
    """Mean conductance of a cell with an unknown weight: as stated, or for uniform weights."""
    cell, stated = profile.cell, (profile.cost or CostRates()).read.mean_conductance
    if stated is not None:
        return stated * cell.g_max_uS
    if cell.signed:
        return cell.g_max_uS / 2
    if profile.array.pairs is not None:
        numbers = torch.arange(_WEIGHTS, dtype=torch.float64, device="cpu")
        weights = (numbers + 0.5) * (2 / _WEIGHTS) - 1
        return float(mapping.conductances(weights.view(1, 1, -1)).mean())
    return cell.g_min_uS + mapping.span_uS / (4 if mapping.paired else 2)  # one of a pair rests
