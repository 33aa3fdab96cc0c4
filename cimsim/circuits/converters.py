"""Common parts of DAC and ADC: uniform codes, saturation, and the bow error."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from cimsim.profile import Bow

# Values beyond the range by up to this fraction count as inside: whether a full-scale value is
# clipped must not depend on the rounding of a division, of a sum, or of a range stored in float32.
# The fused kernels use the same constant.
EDGE = 2.0**-16


@dataclass(frozen=True)
class Converter:
    """``code = round(clamp(v / step, lowest, L))``, ``step = range / L``, ``L = 2^(bits-1) - 1``.

    There are ``2^bits`` codes in two's complement, and one less with sign and magnitude, which has
    two zeros; ``unsigned`` codes are 0 to ``L = 2^bits - 1``. Rounding is half to even, and the
    converted value is ``code * step``. Codes are integer-valued floats, for use in products;
    ``storage`` is the integer type to store them in. One bit is a comparator with codes -1 and 1.
    """

    bits: int
    twos_complement: bool = False
    unsigned: bool = False

    @property
    def levels(self) -> int:
        """Number of codes above zero, ``L``."""
        if self.unsigned:
            return (1 << self.bits) - 1
        return max(1, (1 << (self.bits - 1)) - 1)

    @property
    def lowest(self) -> int:
        """The lowest code: 0, ``-L``, or one less in two's complement."""
        if self.unsigned:
            return 0
        return -self.levels - (self.twos_complement and self.bits > 1)

    @property
    def planes(self) -> int:
        """Bits of the magnitude of a code."""
        return self.levels.bit_length()

    @property
    def storage(self) -> torch.dtype:
        """The smallest integer type that can represent all codes."""
        if self.bits > 8:
            return torch.int32 if self.levels > 32767 else torch.int16
        return torch.uint8 if self.unsigned else torch.int8

    def inside(self, steps: Tensor) -> Tensor:
        """Return a mask of the elements of ``steps = v / step`` within the range."""
        return (steps >= self.lowest * (1 + EDGE)) & (steps <= self.levels * (1 + EDGE))

    def encode(self, steps: Tensor, want_inside: bool = True) -> tuple[Tensor, Tensor | None]:
        """Return the codes of ``steps = v / step``, and a mask of those in the range (slope 1).

        Both have the shape of ``steps``, which may be overwritten; the mask is None without
        ``want_inside``.
        """
        if not want_inside:
            return steps.clamp_(self.lowest, self.levels).round_(), None
        return steps.clamp(self.lowest, self.levels).round_(), self.inside(steps)

    def range_slope(self, codes: Tensor, steps: Tensor, inside: Tensor) -> Tensor:
        """Return ``d(code * step) / d(range)`` of every value, straight through the rounding.

        ``steps`` are the values in steps, times the slope of an error before the converter;
        ``inside`` marks those in the range.
        """
        return (codes - steps.where(inside, 0.0)) / self.levels


_BOW_PEAK = 2 / (3 * math.sqrt(3))  # the largest value of u - u^3 in [0, 1]


def bow_steps(bow: Bow, steps: Tensor, levels: int) -> Tensor:
    """Return the change of ``steps`` by ``bow``, in steps: a new tensor of the same shape.

    ``strength * peak_of_range * L * (u - u^3) / max(u - u^3)``, ``u = clamp(steps / L, -1, 1)``:
    values at or beyond the edges of the range do not change.
    """
    u = (steps / levels).clamp_(-1.0, 1.0)
    size = bow.strength * bow.peak_of_range * levels / _BOW_PEAK
    return u.square().neg_().add_(1.0).mul_(u).mul_(size)
