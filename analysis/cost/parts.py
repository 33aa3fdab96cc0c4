"""Work, costs and prices of the layers of a model, as a result keeps them."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass, fields
from typing import Literal

from cimsim.provenance import Provenance

Quantity = Literal["energy", "time", "area"]


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
        dac_conversions: of a row's input on a tile, each bit of a serial DAC separately.
        adc_conversions: of a column (a pair of columns is subtracted before); every slice and row
            tile separately, and every bit where bits are added up digitally.
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


@dataclass(frozen=True)
class Parts:
    """A sum and its parts: energies in pJ, or areas in um^2 (which have no leakage)."""

    array: float = 0.0
    dac: float = 0.0
    adc: float = 0.0
    digital: float = 0.0
    buffer: float = 0.0
    leakage: float = 0.0

    @property
    def total(self) -> float:
        """All parts together."""
        return math.fsum(astuple(self))

    def __add__(self, other: Parts) -> Parts:
        return Parts(*map(math.fsum, zip(astuple(self), astuple(other), strict=True)))


PARTS: tuple[str, ...] = tuple(part.name for part in fields(Parts))


@dataclass(frozen=True)
class PriceShare:
    """A price, and the part of a total that it makes.

    Attributes:
        profile: name of its profile.
        quantity: ``energy``, ``time`` or ``area``.
        price: the operation or the piece in words.
        provenance: origin of the price, see :data:`cimsim.profile.Provenance`.
        count: operations for one inference, or pieces; 0 for leakage.
        amount: their sum in pJ, ns or um^2.
        source: sources of the numbers that the price follows from.
    """

    profile: str
    quantity: Quantity
    price: str
    provenance: Provenance
    count: float
    amount: float
    source: str = ""


@dataclass(frozen=True)
class LayerCost:
    """Energy, latency and area of one layer for one inference.

    Attributes:
        name, kind: of the layer.
        profile: name of its profile, or ``digital``.
        macs: MACs.
        bit_macs: MACs times bits of input times bits of weight; None where the weight's bits are
            not known (cells that hold any value).
        counts: operations of each part; None for a digital layer.
        energy_pJ, latency_ns, area_um2: tiles of a layer work at the same time, its vectors one
            after the other.
        generic_pJ: part of the energy that follows from generic prices; None in older files.
    """

    name: str
    kind: str
    profile: str
    macs: float
    bit_macs: float | None
    counts: Counts | None
    energy_pJ: Parts
    latency_ns: float
    area_um2: Parts
    generic_pJ: Parts | None = None
