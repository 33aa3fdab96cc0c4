"""Drive of a layer's rows, which determines the energy of a read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from cimsim.array import Tiling
from cimsim.circuits.converters import Converter
from cimsim.circuits.dac import bit_planes
from cimsim.nn import AnalogLayer
from cimsim.profile import DAC, ArraySpec

IDEAL_BITS = 8
"""Bits assumed for an ideal converter."""

_UNLIMITED = 2**31
_SMALLEST_RANGE = 1e-30


@dataclass(frozen=True, eq=False)
class Drive:
    """Factors of a read's energy at every row, mean over all vectors, ``[groups, rows]``.

    ``u`` is an input over the DAC's range. ``squares`` is the mean of ``u^2``, for a voltage that
    carries the input; ``sizes`` that of ``|u|``, for a duration that does; ``ones`` the share of
    bits that are one, for inputs that are sent bit by bit.
    """

    squares: Tensor
    sizes: Tensor
    ones: Tensor

    @classmethod
    def mean(cls, drives: Sequence[tuple[Drive, int]]) -> Drive | None:
        """Average over calls, each with its number of vectors; None if there were none."""
        if not drives:
            return None
        total = sum(vectors for _, vectors in drives)
        return cls(
            *(
                torch.stack([getattr(drive, part.name) * n for drive, n in drives]).sum(0) / total
                for part in fields(cls)
            )
        )


def drive_of(layer: AnalogLayer, vectors: Tensor) -> Drive:
    """Compute how ``vectors`` drive the rows of ``layer``.

    Inputs are divided by the DAC's calibrated range, or by the largest value if there is none.
    They are unsigned if the profile and the inputs allow it, see :func:`nonnegative`.
    """
    dac = layer.profile.dac
    bits = dac.bits or IDEAL_BITS
    unsigned = without_sign(dac, nonnegative(layer, vectors))
    scale = layer.dac_range.detach()
    if not bool(torch.isfinite(scale)):
        scale = vectors.abs().max()
    u = (vectors / scale.clamp_min(_SMALLEST_RANGE)).clamp(-1.0, 1.0).to(torch.float32)
    converter = Converter(bits, unsigned=unsigned)
    codes = converter.encode(u * converter.levels, want_inside=False)[0]
    whole: ArraySpec = layer.profile.array.model_copy(update={"rows": _UNLIMITED})
    tiling = layer.tiling(layer, whole)
    parts = (u.square(), u.abs(), bit_planes(codes, converter.planes).abs())
    return Drive(*(_per_row(tiling, part) for part in parts))


def nonnegative(layer: AnalogLayer, vectors: Tensor) -> bool:
    """Whether the inputs of ``layer`` are not below 0: by its calibration, or else by
    ``vectors``."""
    if layer.dac_unsigned is not None and layer.calibrated:
        return layer.array.unsigned
    return not bool((vectors < 0).any())


def without_sign(dac: DAC, nonnegative: bool) -> bool:
    """Whether inputs are sent without a sign, all of their bits being magnitude."""
    return dac.bits is not None and dac.sign == "if-needed" and nonnegative


def _per_row(tiling: Tiling, values: Tensor) -> Tensor:
    """The mean at each row of a tiling that does not split rows, ``[groups, rows]``."""
    shape = tiling.output_shape_of(tuple(values.shape), tiling.tiles)
    ones = values.new_ones(tiling.currents_shape(shape))
    sums = tiling.cells_grad(ones, values).squeeze(1)
    return sums / (ones.numel() / tiling.tiles)
