"""DAC and ADC: symmetric uniform converters that round and saturate."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Converter:
    """``code = round(clamp(v / step, -L, L))``, ``step = range / L``, ``L = 2^(bits-1) - 1``.

    Rounds half to even. ``v = code * step`` afterwards. Codes are whole-numbered floats, ready for
    a product; ``storage`` is the type that keeps them small.
    """

    bits: int

    @property
    def levels(self) -> int:
        """Number of codes above zero, ``L``."""
        return (1 << (self.bits - 1)) - 1

    @property
    def storage(self) -> torch.dtype:
        """The smallest integer type that holds every code."""
        return torch.int8 if self.bits <= 8 else torch.int16

    def encode(self, steps: Tensor, want_inside: bool = True) -> tuple[Tensor, Tensor | None]:
        """Codes of ``steps = v / step``, and which of them were inside the range (slope 1).

        Both have the shape of ``steps``, which may be overwritten; the mask is None unless wanted.
        """
        if not want_inside:
            return steps.clamp_(-self.levels, self.levels).round_(), None
        codes = steps.clamp(-self.levels, self.levels)
        inside = codes == steps
        return codes.round_(), inside
