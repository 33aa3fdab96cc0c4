"""Batches of an in-memory data set, in an order that depends only on seed and epoch."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from cimsim import seeds


class BatchLoader:
    """Yields ``(x, y)`` batches; the last batch may be smaller.

    A last batch of fewer than ``smallest`` samples is merged with the batch before it.

    The order of epoch ``n`` is a permutation sampled from the seed and ``n`` only, so an
    interrupted run continues with exactly the remaining batches: ``loader.epoch(n, start)``.
    Without a seed, batches are views of the data in their original order.

    ``x`` is [N, ...] and ``y`` is [N], on any device; the order does not depend on the device.

    >>> loader = BatchLoader(torch.arange(5.0), torch.arange(5), 2)
    >>> [y.tolist() for x, y in loader]
    [[0, 1], [2, 3], [4]]
    >>> [len(x) for x, y in BatchLoader(torch.zeros(5), torch.zeros(5), 2, smallest=2)]
    [2, 3]
    """

    def __init__(
        self,
        x: Tensor,
        y: Tensor,
        batch_size: int,
        *,
        shuffle_seed: int | None = None,
        smallest: int = 1,
    ) -> None:
        if len(x) != len(y):
            raise ValueError(f"x has {len(x)} rows, y has {len(y)}")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.x = x
        self.y = y
        self.batch_size = batch_size
        self.shuffle_seed = shuffle_seed
        self.smallest = smallest
        self._epoch = 0

    def __len__(self) -> int:
        """Number of batches in one epoch."""
        whole, left = divmod(len(self.x), self.batch_size)
        return whole + (left >= self.smallest or (left > 0 and whole == 0))

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of plain iteration (default 0)."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return self.epoch(self._epoch)

    def epoch(self, epoch: int, start_batch: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of one epoch, starting with batch ``start_batch``."""
        order = self._order(epoch)
        for number in range(start_batch, len(self)):
            at = number * self.batch_size
            batch = slice(at, len(self.x) if number + 1 == len(self) else at + self.batch_size)
            rows = batch if order is None else order[batch]
            yield self.x[rows], self.y[rows]

    def _order(self, epoch: int) -> Tensor | None:
        if self.shuffle_seed is None:
            return None
        rng = seeds.generator("shuffle", self.shuffle_seed, epoch)
        # Sampled on the CPU, because random streams differ between devices.
        return torch.randperm(len(self.x), generator=rng, device="cpu").to(self.x.device)
