"""Masks of conversions that did not saturate, one bit each, saved for backward."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Mask(NamedTuple):
    """A boolean tensor of ``shape`` as ``bits``, uint8: the least significant bit is the first.

    ``line`` values in a row of memory share bytes, and every line begins with a new one.
    """

    bits: Tensor
    shape: tuple[int, ...]
    line: int

    @classmethod
    def pack(cls, mask: Tensor, line: int) -> Mask:
        """Of ``mask`` (bool), whose number of elements is a multiple of ``line``."""
        if not mask.numel():
            return cls(mask.new_empty(0, dtype=torch.uint8), mask.shape, line)
        flat = mask.reshape(-1, line).contiguous().view(torch.uint8)
        flat = F.pad(flat, (0, -line % 8)).view(-1, 8)
        packed = flat[:, 0].clone(memory_format=torch.contiguous_format)
        for bit in range(1, 8):
            packed |= flat[:, bit] << bit
        return cls(packed, mask.shape, line)

    def unpack(self) -> Tensor:
        """The boolean tensor."""
        if not self.bits.numel():
            return torch.ones(self.shape, dtype=torch.bool, device=self.bits.device)
        places = torch.arange(8, dtype=torch.uint8, device=self.bits.device)
        flat = (self.bits.view(-1, 1) >> places) & 1
        lines = flat.view(-1, -(-self.line // 8) * 8)[:, : self.line]
        return lines.reshape(self.shape).bool()
