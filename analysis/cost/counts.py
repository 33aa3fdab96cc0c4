"""How often each part of a chip does its work in one inference."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from cimsim.analysis.cost.drive import IDEAL_BITS, without_sign
from cimsim.analysis.cost.workload import AnalogWork
from cimsim.circuits.converters import Converter
from cimsim.circuits.mapping import Mapping
from cimsim.profile import (
    AnalogAccumulation,
    CostRates,
    DigitalAccumulation,
    Profile,
    Replication,
)


@dataclass(frozen=True)
class Counts:
    """One analog layer's work for one inference.

    Attributes:
        macs: multiplications of a weight with an input, each with its addition.
        vectors: input vectors.
        pulses: times that every vector is sent: once, or bit by bit without the sign.
        tiles: physical tiles, ``row_tiles`` (and groups of a convolution) times ``blocks``, of all
            copies; copies of a layer that fills no tile share them.
        row_tiles: tiles that a column's inputs are spread over.
        blocks: tiles that the columns are spread over.
        devices: cells that hold one digit of a weight, 2 for each pair.
        cells: cells that hold weights or the reference, of all copies.
        columns_per_adc: conversions that an ADC makes one after the other.
        cell_reads: reads of one cell.
        dac_conversions: of a row's input on a tile, every bit of a serial DAC on its own.
        adc_conversions: of a column (a pair of columns is subtracted before); every slice and row
            tile on its own, and every bit where bits are added up digitally.
        shift_adds: additions that join slices and bits of one output on one tile.
        adds: additions over row tiles, of biases, and what subtracts a digital reference.
        multiplies: scales of columns.
        buffer_bits: bits of inputs that are read for every vector, and of outputs written.
        held_bits: bits of inputs that the layer's buffer holds.
        copies: how often the layer is stored.
        column_lines: columns that are read for every vector, on all tiles of one copy.
        cycles: integrations of a column's charge for every vector; 0 where bits are added up
            digitally.
        integrations: the same for all columns and vectors.
    """

    macs: float
    vectors: float
    pulses: int
    tiles: int
    row_tiles: int
    blocks: int
    devices: int
    cells: int
    columns_per_adc: int
    cell_reads: float
    dac_conversions: float
    adc_conversions: float
    shift_adds: float
    adds: float
    multiplies: float
    buffer_bits: float
    held_bits: float
    copies: int = 1
    column_lines: int = 0
    cycles: int = 0
    integrations: float = 0


def count(work: AnalogWork, profile: Profile) -> Counts:
    """What ``work`` takes on the device of ``profile``.

    Tiles are those of :func:`cimsim.array.occupancy.occupancy`: rows dealt out over tiles, columns
    and their slices over blocks, each with a reference column where cells hold one.

    Raises:
        CimsimError: if the layer does not fit the device's tiles.
    """
    array, mapping = profile.array, Mapping(profile.cell, profile.array)
    tiling = work.tiling(array)
    columns = tiling.to_cells(torch.empty(work.weight_shape, device="meta")).shape[1]
    outputs, inputs = work.weight_shape[0], math.prod(work.weight_shape[1:])
    groups = outputs // columns
    row_tiles = tiling.tiles // groups
    blocks = math.ceil(columns * array.slices / max(1, array.columns - mapping.reference))
    devices = mapping.devices
    rows = groups * inputs * blocks  # that are driven for every vector, on all tiles
    bits = profile.dac.bits or IDEAL_BITS
    unsigned = without_sign(profile.dac, work.nonnegative)
    pulses = Converter(bits, unsigned=unsigned).planes if profile.dac.bit_serial else 1
    cells = outputs * inputs * array.slices * devices + rows * mapping.reference
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
    lines = outputs * array.slices * devices * row_tiles + tiling.tiles * blocks * mapping.reference
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
    """How often a layer is stored that takes ``vectors`` for one inference."""
    wanted = replication.copies
    if replication.vectors_per_copy is not None:
        wanted = max(wanted, math.ceil(vectors / replication.vectors_per_copy))
    return max(1, min(wanted, math.ceil(vectors)))


def _tiles(copies: int, tiles: int, rows: int, columns: int, profile: Profile) -> int:
    """Tiles of all copies; those of a layer that lies on one tile share tiles, along a diagonal."""
    array, mapping = profile.array, Mapping(profile.cell, profile.array)
    if tiles > 1:
        return copies * tiles
    free = array.columns - mapping.reference
    sharing = min(array.rows // rows, free // (columns * array.slices))
    return math.ceil(copies / max(1, sharing))
