"""Random numbers that depend only on a seed and a shape."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cimsim.kernels import draw


def normal(like: Tensor, seed: int) -> Tensor:
    """Sample N(0, 1) for each element of ``like``, with its dtype and device.

    On the CPU the kernels sample in float32 for any dtype; without kernels and on other devices
    torch samples, which gives different numbers.
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
    """Sample ``sum size * N(0, 1)`` over ``parts`` (seed, size) for each element of ``like``."""
    (seed, size), *others = parts
    total = normal(like, seed)
    if size != 1.0:
        total.mul_(size)
    for seed, size in others:
        total.add_(normal(like, seed), alpha=size)
    return total


def _empty(like: Tensor) -> Tensor:
    # Contiguous, so that a transposed or expanded field gives the same chip.
    return torch.empty_like(like, memory_format=torch.contiguous_format)
