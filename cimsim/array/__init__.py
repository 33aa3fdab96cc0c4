"""A weight matrix on tiles: program it, age it, multiply with it. No autograd in here."""

from cimsim.array.array import Array, ConverterRanges, Readout
from cimsim.array.chip import Chip
from cimsim.array.tiling import ConvTiling, LinearTiling, Tiling

__all__ = [
    "Array",
    "Chip",
    "ConvTiling",
    "ConverterRanges",
    "LinearTiling",
    "Readout",
    "Tiling",
]
