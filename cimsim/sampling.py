"""Samples of torch's generators that do not depend on the precision of a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def uniform(
    like: Tensor, draws: torch.Generator, shape: Sequence[int] | None = None, low: float = 0.0
) -> Tensor:
    """Sample uniformly in [low, 1) for each element of ``like``, or of ``shape``, see
    :func:`_drawn`; a transposed ``like`` gets the same samples."""
    of = like.shape if shape is None else shape
    return _drawn(like, of, lambda out: out.uniform_(low, 1.0, generator=draws))


def standard_normal(
    like: Tensor, draws: torch.Generator, shape: Sequence[int] | None = None
) -> Tensor:
    """Sample N(0, 1) by torch for each element of ``like``, or of ``shape``, see :func:`_drawn`."""
    return _drawn(like, shape, lambda out: out.normal_(generator=draws))


def bernoulli(like: Tensor, chance: float, draws: torch.Generator) -> Tensor:
    """Sample 1 with the probability ``chance`` and 0 otherwise for each element of ``like``, see
    :func:`_drawn`."""
    return _drawn(like, None, lambda out: out.bernoulli_(chance, generator=draws))


def _drawn(like: Tensor, shape: Sequence[int] | None, draw: Callable[[Tensor], Tensor]) -> Tensor:
    """A new tensor that ``draw`` fills, with the dtype and device of ``like``.

    Float64 gets the numbers of float32, so that a seed names the same chip in both.
    """
    dtype = torch.float32 if like.dtype == torch.float64 else like.dtype
    if shape is None:
        out = torch.empty_like(like, dtype=dtype)
    else:
        out = like.new_empty(tuple(shape), dtype=dtype)
    return draw(out).to(like.dtype)
