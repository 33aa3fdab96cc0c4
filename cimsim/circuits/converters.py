"""DAC and ADC: symmetric uniform converters that round and saturate."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Converter:
    """``code = round(clamp(v / step, -L, L))``, ``step = range / L``, ``L = 2^(bits-1) - 1``.

    Rounds half to even. ``v = code * step`` afterwards. Codes are kept as whole-numbered floats,
    ready for a product; :meth:`pack` stores them small.
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

    def encode(self, v: Tensor, inverse_step: Tensor) -> tuple[Tensor, Tensor]:
        """Codes of ``v`` and the mask of what was inside the range (slope 1), both of v's shape."""
        scaled = v * inverse_step
        codes = scaled.clamp(-self.levels, self.levels)
        inside = codes == scaled
        return codes.round_(), inside
