"""Operations of each part of a chip in one inference."""

from __future__ import annotations

import math

import torch

from cimsim.analysis.cost.drive import IDEAL_BITS, without_sign
from cimsim.analysis.cost.parts import Counts
from cimsim.analysis.cost.workload import AnalogWork
from cimsim.array import shape_with_spares
from cimsim.circuits.converters import Converter
from cimsim.circuits.mapping import Mapping
from cimsim.profile import (
    AnalogAccumulation,
    CostRates,
    DigitalAccumulation,
    Profile,
    Replication,
)


def count(work: AnalogWork, profile: Profile) -> Counts:
    """Count the operations of ``work`` on ``profile``.

    Tiles are those of :func:`cimsim.array.occupancy.occupancy`: rows divided among tiles, columns
    and their slices over blocks, each with a reference column where cells hold one. Spare columns
    are read, but not converted.

    Raises:
        CimsimError: if the layer does not fit the device's tiles.
    """
    array, mapping = profile.array, Mapping(profile.cell, profile.array)
    tiling = work.tiling(array)
    groups = tiling.groups
    held = shape_with_spares(work.weight_shape, groups, array.spare_columns)
    columns = tiling.to_cells(torch.empty(held, device="meta")).shape[1]
    outputs, inputs = work.weight_shape[0], math.prod(work.weight_shape[1:])
    row_tiles = tiling.tiles // groups
    blocks = math.ceil(columns * array.slices / array.weight_columns)
    devices = mapping.devices
    rows = groups * inputs * blocks  # that are driven for every vector, on all tiles
    bits = profile.dac.bits or IDEAL_BITS
    unsigned = without_sign(profile.dac, work.nonnegative)
    pulses = Converter(bits, unsigned=unsigned).planes if profile.dac.bit_serial else 1
    cells = held[0] * inputs * array.slices * devices + rows * mapping.reference
    results = work.vectors * outputs  # columns' results before any overlap
    cost = profile.cost or CostRates()
    cycles = _cycles(cost.accumulation, pulses)
    parts = array.slices * (1 if cycles else pulses)  # conversions of one result on one tile
    adds = results * (row_tiles - 1) + work.additions
    if mapping.digital_offset:  # sums of the inputs, subtracted from every result of a tile
        adds += work.vectors * (groups * inputs - tiling.tiles) + results * row_tiles
    multiplied = 1 if array.weight_scale == "layer" else row_tiles
    per_tile = min(array.columns, columns * array.slices)
    copies = _copies(cost.replication, work.vectors)
    lines = held[0] * array.slices * devices * row_tiles + tiling.tiles * blocks * mapping.reference
    return Counts(
        macs=work.vectors * outputs * inputs,
        vectors=work.vectors,
        pulses=pulses,
        tiles=_tiles(copies, tiling.tiles * blocks, inputs, columns, profile),
        row_tiles=row_tiles,
        blocks=blocks,
        devices=devices,
        cells=copies * cells,
        columns_per_adc=min(profile.adc.columns_per_adc, per_tile),
        cell_reads=work.vectors * pulses * cells,
        dac_conversions=work.vectors * pulses * rows,
        adc_conversions=results * row_tiles * parts,
        shift_adds=results * row_tiles * (parts - 1),
        adds=adds,
        multiplies=results * multiplied + work.corrections,
        buffer_bits=bits * (work.vectors * groups * inputs + work.outputs),
        held_bits=bits * work.inputs,
        copies=copies,
        column_lines=lines,
        cycles=cycles,
        integrations=results * row_tiles * array.slices * cycles,
    )


def _cycles(accumulation: AnalogAccumulation | DigitalAccumulation, pulses: int) -> int:
    """Integrations of one column's charge for one vector."""
    if isinstance(accumulation, DigitalAccumulation):
        return 0
    return pulses if accumulation.cycles == "single" else 2**pulses - 1


def _copies(replication: Replication, vectors: float) -> int:
    """The number of copies of a layer that takes ``vectors`` for one inference."""
    copies = replication.copies
    if replication.vectors_per_copy is not None:
        copies = max(copies, math.ceil(vectors / replication.vectors_per_copy))
    return max(1, min(copies, math.ceil(vectors)))


def _tiles(copies: int, tiles: int, rows: int, columns: int, profile: Profile) -> int:
    """Tiles of all copies; copies of a layer that fits on one tile share it, along a diagonal."""
    array = profile.array
    if tiles > 1:
        return copies * tiles
    sharing = min(array.rows // rows, array.weight_columns // (columns * array.slices))
    return math.ceil(copies / max(1, sharing))
