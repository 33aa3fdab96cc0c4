"""A weight matrix on tiles: program it, age it, multiply with it. No autograd in here."""

from cimsim.array.array import NOTHING, Array, ConverterRanges, Readout, Wanted
from cimsim.array.chip import Chip
from cimsim.array.masks import Mask
from cimsim.array.programmed import Programmed
from cimsim.array.tiling import ConvTiling, LinearTiling, Tiling

__all__ = [
    "NOTHING",
    "Array",
    "Chip",
    "ConvTiling",
    "ConverterRanges",
    "LinearTiling",
    "Mask",
    "Programmed",
    "Readout",
    "Tiling",
    "Wanted",
]
