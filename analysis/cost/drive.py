"""How strongly a layer's rows are driven, and how well its cells conduct: what a read takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cimsim.array import Tiling
from cimsim.circuits.converters import Converter
from cimsim.circuits.dac import bit_planes
from cimsim.nn import AnalogLayer
from cimsim.profile import Array

IDEAL_BITS = 8
"""What an ideal converter is taken for, as none is ideal."""

_UNLIMITED = 2**31
_SMALLEST_RANGE = 1e-30


@dataclass(frozen=True, eq=False)
class Drive:
    """Mean squares of the drive ``u`` of every row over all vectors, ``[groups, rows]``.

    ``levels`` is of an input that is sent at once, ``u`` its value over the DAC's range; ``ones``
    of one that is sent bit by bit: the share of bits that are one.
    """

    levels: Tensor
    ones: Tensor

    @classmethod
    def mean(cls, drives: Sequence[Drive]) -> Drive | None:
        """Over several calls of as many vectors each; None if there were none."""
        if not drives:
            return None
        return cls(
            torch.stack([drive.levels for drive in drives]).mean(0),
            torch.stack([drive.ones for drive in drives]).mean(0),
        )


def drive_of(layer: AnalogLayer, vectors: Tensor) -> Drive:
    """How ``vectors`` drive the rows of ``layer``.

    Over the DAC's range as it is calibrated; where there is none, over the largest value.
    """
    bits = layer.profile.dac.bits or IDEAL_BITS
    scale = layer.dac_range.detach()
    if not bool(torch.isfinite(scale)):
        scale = vectors.abs().max()
    u = (vectors / scale.clamp_min(_SMALLEST_RANGE)).clamp(-1.0, 1.0).to(torch.float32)
    converter = Converter(bits)
    codes = converter.encode(u * converter.levels, want_inside=False)[0]
    whole: Array = layer.profile.array.model_copy(update={"rows": _UNLIMITED})
    tiling = layer.tiling(layer, whole)
    return Drive(_per_row(tiling, u.square()), _per_row(tiling, bit_planes(codes, bits).square()))


def _per_row(tiling: Tiling, squares: Tensor) -> Tensor:
    """The mean at each row of a tiling that does not split rows, ``[groups, rows]``."""
    shape = tiling.output_shape_of(tuple(squares.shape), tiling.tiles)
    ones = squares.new_ones(tiling.currents_shape(shape))
    sums = tiling.cells_grad(ones, squares).squeeze(1)
    return sums / (ones.numel() / tiling.tiles)
