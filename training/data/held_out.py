"""Which training samples are held out for choices."""

from __future__ import annotations

import torch
from torch import Tensor

from cimsim import seeds
from cimsim.errors import CimsimError


def held_out_classes(y: Tensor, fraction: float) -> Tensor:
    """Return which of the samples with labels ``y`` int64 [N] are held out, as a bool mask [N].

    ``round(fraction * N)`` samples, of each class its share, rounded up or down. They are sampled
    with a fixed seed, so that all trainings hold out the same ones. A class keeps at least one
    training sample.

    >>> held_out_classes(torch.tensor([0, 0, 0, 0, 1, 1, 1, 1]), 0.25).view(2, 4).sum(1).tolist()
    [1, 1]
    """
    held = torch.zeros_like(y, dtype=torch.bool)
    before = taken = 0
    for number in y.unique().tolist():
        rows = (y == number).nonzero().flatten()
        before += len(rows)
        count = min(round(fraction * before) - taken, len(rows) - 1)
        taken += count
        draws = seeds.generator("held-out samples", number)
        order = torch.randperm(len(rows), generator=draws, device="cpu")
        held[rows[order[:count].to(rows.device)]] = True
    return held


def held_out_numbers(count: int, fraction: float) -> Tensor:
    """Return which of ``count`` samples without classes are held out: the same at every call."""
    return held_out_classes(torch.zeros(count, dtype=torch.int64), fraction)


def held_out_tail(count: int, fraction: float) -> Tensor:
    """Return which of ``count`` consecutive windows of text are held out: the last ones.

    >>> held_out_tail(5, 0.4).tolist()
    [False, False, False, True, True]
    """
    return torch.arange(count) >= count - round(fraction * count)


def require_parts(name: str, fraction: float, held: Tensor) -> None:
    """Refuse a fraction that leaves no samples in one of the parts.

    Raises:
        CimsimError: stating the number of samples.
    """
    count, kept = int(held.sum()), int((~held).sum())
    if not (count and kept):
        raise CimsimError(
            f"hold_out={fraction:g} of the {len(held)} training samples of '{name}' holds out "
            f"{count} and leaves {kept} to train on; both must be at least 1"
        )
