"""Random numbers that depend on a seed and a shape, and on nothing else."""

from __future__ import annotations

import torch
from torch import Tensor

from cimsim import kernels


def normal(like: Tensor, seed: int) -> Tensor:
    """N(0, 1), one for each element of ``like``, of its dtype and on its device.

    On the CPU the kernels draw them, in float32 whatever the dtype; where those are absent, and on
    other devices, torch does, and its numbers are others.
    """
    out = _empty(like)
    if kernels.active(out):
        kernels.native.normal(out, seed)
        return out
    if out.dtype == torch.float64:
        return normal(out.float(), seed).double()
    return out.normal_(generator=torch.Generator(device=out.device).manual_seed(seed))


def uniform(like: Tensor, draws: torch.Generator) -> Tensor:
    """Uniform in [0, 1), one for each element of ``like``, of its dtype and on its device."""
    return _empty(like).uniform_(generator=draws)


def _empty(like: Tensor) -> Tensor:
    # Filled in the order of memory: a transposed or expanded field must be the same chip.
    return torch.empty_like(like, memory_format=torch.contiguous_format)
