"""Batches of a data set held in memory, in an order that depends on seed and epoch alone."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from cimsim import seeds


class BatchLoader:
    """Yields ``(x, y)`` batches; the last one may be shorter. If it had fewer than ``smallest``
    samples, they are part of the batch before it.

    The order of epoch ``n`` is a permutation drawn from the seed and ``n`` alone, so a run that
    was interrupted goes on with exactly the batches it has not seen: ``loader.epoch(n, start)``.
    Without a seed the data come in their own order, as views.

    ``x`` is [N, ...] and ``y`` is [N]; both may live on any device, the order is the same on each.

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
        """Batches in one epoch."""
        whole, left = divmod(len(self.x), self.batch_size)
        return whole + (left >= self.smallest or (left > 0 and whole == 0))

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that plain iteration walks through (0 until set)."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return self.epoch(self._epoch)

    def epoch(self, epoch: int, start_batch: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of one epoch, from batch number ``start_batch`` on."""
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
        # Drawn on the CPU whatever the device of x, because each device has its own random stream.
        return torch.randperm(len(self.x), generator=rng, device="cpu").to(self.x.device)
