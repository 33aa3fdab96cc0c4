"""MNIST as tensors, a plain training loop, and the accuracy on the test images."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cimsim.training.data.layout import Layout
from cimsim.training.data.mnist import MNIST, read_mnist


class Digits(NamedTuple):
    """Images ``[n, 1, 28, 28]`` with values from 0 to 1, and their labels."""

    x: Tensor
    y: Tensor

    def part(self, rows: Tensor) -> Digits:
        """Some of them."""
        return Digits(self.x[rows], self.y[rows])

    def batches(self, size: int, draws: torch.Generator | None = None) -> Iterator[Digits]:
        """All of them, in random order if ``draws`` is given."""
        order = (
            torch.arange(len(self.y))
            if draws is None
            else torch.randperm(len(self.y), generator=draws)
        )
        for rows in order.split(size):
            yield self.part(rows)


@functools.cache
def digits(data_dir: Path, layout: Layout = MNIST) -> tuple[Digits, Digits]:
    """Training and test images, also of other data of the same layout."""
    train, test = read_mnist(layout, data_dir, download=False)
    first, second = (
        Digits(torch.from_numpy(part.pixels.copy()).float() / 255, torch.from_numpy(part.labels))
        for part in (train, test)
    )
    return first, second


def train(
    model: nn.Module,
    data: Digits,
    optimizer: torch.optim.Optimizer,
    epochs: int,
    seed: int,
    batch: int = 64,
    penalty: Callable[[], Tensor] | None = None,
    each_epoch: Callable[[int], None] | None = None,
    each_step: Callable[[], None] | None = None,
    augment: Callable[[Tensor], Tensor] | None = None,
) -> None:
    """Minimize the cross-entropy, plus ``penalty()``, if any, of images that ``augment`` changes.

    ``each_step()`` and ``each_epoch(epoch)`` are called after each step and epoch.
    """
    draws = torch.Generator().manual_seed(seed)
    for epoch in range(epochs):
        model.train()
        for x, y in data.batches(batch, draws):
            optimizer.zero_grad()
            changed = x if augment is None else augment(x)
            loss = nn.functional.cross_entropy(model(changed), y)
            if penalty is not None:
                loss = loss + penalty()
            loss.backward()
            optimizer.step()
            if each_step is not None:
                each_step()
        if each_epoch is not None:
            each_epoch(epoch)
    model.eval()


@torch.no_grad()
def accuracy(model: nn.Module, data: Digits, batch: int = 1000) -> float:
    """Share of correct labels in %."""
    model.eval()
    correct = sum(int((model(x).argmax(1) == y).sum()) for x, y in data.batches(batch))
    return 100 * correct / len(data.y)
