"""Pruning of a row to its largest members, overall or among neighbors."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator
from torch import Tensor

from cimsim.errors import CimsimError


def _checked(pattern: str) -> str:
    _parsed(pattern)
    return pattern


Sparsity = Annotated[str, AfterValidator(_checked)]
"""``none``, ``N:M`` (keep N of every M neighbors), or the fraction to prune, such as 0.5."""


def _parsed(pattern: str) -> tuple[int, int] | float | None:
    if pattern == "none":
        return None
    if match := re.fullmatch(r"(\d+):(\d+)", pattern):
        keep, of = int(match[1]), int(match[2])
        if 0 < keep <= of:
            return keep, of
    else:
        try:
            share = float(pattern)
        except ValueError:
            share = -1.0
        if 0 <= share < 1:
            return share
    raise CimsimError(
        f"sparsity must be N:M, such as 2:4, or the fraction to prune, such as 0.5, not '{pattern}'"
    )


def sparse(x: Tensor, pattern: Sparsity) -> Tensor:
    """Set all except the largest magnitudes of each row (``x.flatten(1)``) to zero.

    Raises:
        CimsimError: if the length of a row is not a multiple of M.

    >>> import torch
    >>> sparse(torch.tensor([[3.0, -1.0, 2.0, -4.0]]), "2:4")
    tensor([[ 3.,  0.,  0., -4.]])
    """
    parsed = _parsed(pattern)
    if parsed is None:
        return x
    rows = x.reshape(1, -1) if x.dim() < 2 else x.flatten(1)
    if isinstance(parsed, tuple):
        keep, of = parsed
        if rows.shape[1] % of:
            raise CimsimError(
                f"rows of {rows.shape[1]} cannot be divided into groups of {of}; keep that layer "
                "digital, or use a fraction such as 0.5"
            )
        rows = rows.view(-1, of)
    else:
        keep = max(1, round((1 - parsed) * rows.shape[1]))
    dropped = rows.abs().topk(rows.shape[1] - keep, dim=1, largest=False).indices
    return rows.scatter(1, dropped, 0.0).view(x.shape)
