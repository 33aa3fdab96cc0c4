"""Boolean masks at one bit an element, for what is kept until backward."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def pack(mask: Tensor) -> Tensor:
    """``mask`` (bool, any shape) as ``uint8 [ceil(numel / 8)]``, least significant bit first."""
    flat = mask.reshape(-1).view(torch.uint8)
    flat = F.pad(flat, (0, -flat.numel() % 8)).view(-1, 8)
    packed = flat[:, 0].clone()
    for bit in range(1, 8):
        packed |= flat[:, bit] << bit
    return packed


def unpack(packed: Tensor, shape: torch.Size) -> Tensor:
    """Inverse of :func:`pack`, as bool of ``shape``."""
    bits = torch.tensor([1 << bit for bit in range(8)], dtype=torch.uint8, device=packed.device)
    flat = (packed.unsqueeze(-1) & bits).ne_(0).view(-1)
    return flat[: shape.numel()].view(shape).bool()
