"""What DAC and ADC have in common: uniform codes, saturation, and a bow."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from cimsim.profile import Bow

# A value this far beyond the range, as a fraction of it, still counts as inside: whether a value at
# full scale is cut off must not depend on the rounding of a division, of a sum, or of a range that
# is kept in float32. The fused kernels have the same constant.
EDGE = 2.0**-16


@dataclass(frozen=True)
class Converter:
    """``code = round(clamp(v / step, lowest, L))``, ``step = range / L``, ``L = 2^(bits-1) - 1``.

    ``2^bits`` codes in two's complement, one less with sign and magnitude, which has two zeros.
    Rounds half to even. ``v = code * step`` afterwards. Codes are whole-numbered floats, ready for
    a product; ``storage`` is the type that keeps them small.
    """

    bits: int
    twos_complement: bool = False

    @property
    def levels(self) -> int:
        """Number of codes above zero, ``L``."""
        return (1 << (self.bits - 1)) - 1

    @property
    def lowest(self) -> int:
        """The lowest code: ``-L``, or one less in two's complement."""
        return -self.levels - self.twos_complement

    @property
    def storage(self) -> torch.dtype:
        """The smallest integer type that holds every code."""
        return torch.int8 if self.bits <= 8 else torch.int16

    def encode(self, steps: Tensor, want_inside: bool = True) -> tuple[Tensor, Tensor | None]:
        """Codes of ``steps = v / step``, and which of them were inside the range (slope 1).

        Both have the shape of ``steps``, which may be overwritten; the mask is None unless wanted.
        """
        if not want_inside:
            return steps.clamp_(self.lowest, self.levels).round_(), None
        codes = steps.clamp(self.lowest, self.levels)
        inside = (steps >= self.lowest * (1 + EDGE)) & (steps <= self.levels * (1 + EDGE))
        return codes.round_(), inside


_BOW_PEAK = 2 / (3 * math.sqrt(3))  # the largest value of u - u^3 in [0, 1]


def bow_steps(bow: Bow, steps: Tensor, levels: int) -> Tensor:
    """By how much ``bow`` moves ``steps``, in steps: a new tensor of the same shape.

    ``strength * peak_of_range * L * (u - u^3) / max(u - u^3)``, ``u = clamp(steps / L, -1, 1)``: a
    value outside the range is moved no more than one at its edge, which is not at all.
    """
    u = (steps / levels).clamp_(-1.0, 1.0)
    size = bow.strength * bow.peak_of_range * levels / _BOW_PEAK
    return u.square().neg_().add_(1.0).mul_(u).mul_(size)
