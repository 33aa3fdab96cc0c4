"""Random numbers that depend on a seed and a shape, and on nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cimsim.kernels import draw


def normal(like: Tensor, seed: int) -> Tensor:
    """N(0, 1), one for each element of ``like``, of its dtype and on its device.

    On the CPU the kernels draw them, in float32 whatever the dtype; where those are absent, and on
    other devices, torch does, and its numbers are others.
    """
    out = _empty(like)
    kernels = draw(out)
    if kernels is not None:
        kernels.normal(out, seed)
        return out
    if out.dtype == torch.float64:
        return normal(out.float(), seed).double()
    return out.normal_(generator=torch.Generator(device=out.device).manual_seed(seed))


def sum_of_normals(like: Tensor, parts: Sequence[tuple[int, float]]) -> Tensor:
    """``sum size * N(0, 1)`` over ``parts`` of seed and size, one for each element of ``like``."""
    (seed, size), *others = parts
    total = normal(like, seed)
    if size != 1.0:
        total.mul_(size)
    for seed, size in others:
        total.add_(normal(like, seed), alpha=size)
    return total


def uniform(like: Tensor, draws: torch.Generator) -> Tensor:
    """Uniform in [0, 1), one for each element of ``like``, of its dtype and on its device."""
    return _empty(like).uniform_(generator=draws)


def _empty(like: Tensor) -> Tensor:
    # Filled in the order of memory: a transposed or expanded field must be the same chip.
    return torch.empty_like(like, memory_format=torch.contiguous_format)
