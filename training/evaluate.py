"""Accuracy and loss of a model on a data set."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cimsim.errors import CimsimError
from cimsim.nn import evaluating
from cimsim.nn.batches import BatchReader


class Score(NamedTuple):
    """Fraction of right answers (0..1) and mean cross-entropy (nats)."""

    accuracy: float
    loss: float


@torch.no_grad()
def evaluate(model: nn.Module, x: Tensor, y: Tensor, batch_size: int | None = None) -> Score:
    """Score ``model`` in evaluation mode on inputs ``x [N, ...]`` with labels ``y [N]`` or ``[N,
    T]``.

    Every mode of the model is as before afterwards. By default 1000 inputs at a time; of a network
    that convolves, on a CPU, 125, whose maps fit its caches.

    Raises:
        CimsimError: if there is no input.
    """
    if len(x) == 0:
        raise CimsimError("there is nothing to evaluate: the data set is empty")
    convolves = any(isinstance(module, nn.Conv2d) for module in model.modules())
    small = convolves and x.dim() == 4 and x.device.type == "cpu"
    batch_size = batch_size or (125 if small else 1000)
    if small:
        x = x.to(memory_format=torch.channels_last)  # in which CPUs pool and convolve faster
    return evaluate_batches(model, zip(x.split(batch_size), y.split(batch_size), strict=True))


@torch.no_grad()
def evaluate_batches(model: nn.Module, batches: Iterable[tuple[Any, Tensor]]) -> Score:
    """As :func:`evaluate`, on pairs of inputs and labels; both are moved to the model's device.

    Inputs are anything that :mod:`cimsim.nn.batches` reads.

    Raises:
        CimsimError: if there is no input, a batch is no such pair, or the model does not return
            logits.
    """
    reader = BatchReader(model, "evaluate")
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    correct = torch.zeros((), dtype=torch.int64, device=device)
    loss = torch.zeros((), dtype=torch.float64, device=device)
    count = 0
    with evaluating(model):
        for number, batch in enumerate(batches):
            labels = _labels(batch, number).to(device)
            logits = reader.run(batch, number)
            if not isinstance(logits, Tensor):
                raise CimsimError(
                    f"the model returns a {type(logits).__name__} and not its logits; put it into "
                    "a module that does"
                )
            correct += (logits.argmax(dim=-1) == labels).sum()
            each = logits.flatten(0, -2).double()
            loss += F.cross_entropy(each, labels.flatten(), reduction="sum")
            count += labels.numel()
    if not count:
        raise CimsimError("there is nothing to evaluate: there is no batch of inputs and labels")
    return Score(correct.item() / count, loss.item() / count)


def _labels(batch: object, number: int) -> Tensor:
    pair = isinstance(batch, tuple | list) and len(batch) == 2
    if not (pair and isinstance(batch[1], Tensor)):  # type: ignore[index]
        raise CimsimError(
            f"batch {number} is not a pair of inputs and labels, (inputs, labels), but a "
            f"{type(batch).__name__}"
        )
    labels: Tensor = batch[1]  # type: ignore[index]
    return labels
