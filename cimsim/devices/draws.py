"""Random numbers that depend on a generator and a shape, and on nothing else."""

from __future__ import annotations

import torch
from torch import Tensor


def normal(like: Tensor, draws: torch.Generator) -> Tensor:
    """N(0, 1), one for each element of ``like``, of its dtype and on its device."""
    return _empty(like).normal_(generator=draws)


def uniform(like: Tensor, draws: torch.Generator) -> Tensor:
    """Uniform in [0, 1), one for each element of ``like``, of its dtype and on its device."""
    return _empty(like).uniform_(generator=draws)


def _empty(like: Tensor) -> Tensor:
    # Filled in the order of memory: a transposed or expanded field must be the same chip.
    return torch.empty_like(like, memory_format=torch.contiguous_format)
