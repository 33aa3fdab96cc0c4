"""A weight matrix on crossbars: programming, aging, multiplication. No autograd in here."""

from cimsim.array.array import Array
from cimsim.array.chip import Solution
from cimsim.array.circuit import Circuit
from cimsim.array.known_faults import known_faults
from cimsim.array.masks import Mask
from cimsim.array.mean_response import ChipName, products_vjp, response_vjp
from cimsim.array.spare_columns import add_spares, drop_spares, shape_with_spares
from cimsim.array.tiling import ConvTiling, LinearTiling, Tiling
from cimsim.array.types import (
    SAVE_NOTHING,
    CellWeights,
    Chip,
    ConverterRanges,
    Programmed,
    Readout,
    SaveOptions,
)

__all__ = [
    "SAVE_NOTHING",
    "Array",
    "CellWeights",
    "Chip",
    "ChipName",
    "Circuit",
    "ConvTiling",
    "ConverterRanges",
    "LinearTiling",
    "Mask",
    "Programmed",
    "Readout",
    "SaveOptions",
    "Solution",
    "Tiling",
    "add_spares",
    "drop_spares",
    "known_faults",
    "products_vjp",
    "response_vjp",
    "shape_with_spares",
]
