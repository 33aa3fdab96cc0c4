"""Columns beyond the outputs of a layer, which the weights of faulty columns can be written to.

Each group of a layer has ``spare_columns`` of them behind its own columns:
``[outputs, ...]`` becomes ``[outputs + groups * spares, ...]``.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def add_spares(t: Tensor, groups: int, spares: int) -> Tensor:
    """``t``, whose first axis is the outputs, with zeros for the spare columns of each group."""
    if not spares:
        return t
    grouped: Tensor = t.unflatten(0, (groups, -1))
    behind = (0, 0) * (grouped.dim() - 2) + (0, spares)
    return F.pad(grouped, behind).flatten(0, 1)


def drop_spares(t: Tensor, groups: int, spares: int, dim: int) -> Tensor:
    """Inverse of :func:`add_spares` along ``dim``."""
    if not spares:
        return t
    grouped: Tensor = t.unflatten(dim, (groups, -1))
    outputs = grouped.shape[dim + 1] - spares
    return grouped.narrow(dim + 1, 0, outputs).flatten(dim, dim + 1)


def shape_with_spares(shape: tuple[int, ...], groups: int, spares: int) -> tuple[int, ...]:
    """Shape of :func:`add_spares` for a tensor of ``shape``."""
    outputs, *others = shape
    return (outputs + groups * spares, *others)
