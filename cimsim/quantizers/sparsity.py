"""Pruning of a row to its largest members, overall or in each group of neighbors."""

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
"""``none``, ``N:M`` (keep N of every M neighbors), or the share that is dropped, such as 0.5."""


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
        f"sparsity '{pattern}' is neither N:M, such as 2:4, nor the share dropped, such as 0.5"
    )


def sparse(x: Tensor, pattern: Sparsity) -> Tensor:
    """``x`` with all but its largest magnitudes set to zero, row by row (``x.flatten(1)``).

    Raises:
        CimsimError: if the row does not divide into groups of M.

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
                f"rows of {rows.shape[1]} do not divide into groups of {of}; leave that layer "
                "digital, or choose a share such as 0.5"
            )
        rows = rows.view(-1, of)
    else:
        keep = max(1, round((1 - parsed) * rows.shape[1]))
    dropped = rows.abs().topk(rows.shape[1] - keep, dim=1, largest=False).indices
    return rows.scatter(1, dropped, 0.0).view(x.shape)
