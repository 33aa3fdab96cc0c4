"""Scores of a model on a data set."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from cimsim.errors import CimsimError
from cimsim.nn import evaluating
from cimsim.nn.batches import BatchReader
from cimsim.nn.tallies import ClassTally, Tally


class Score(NamedTuple):
    """Accuracy (0..1) and mean cross-entropy (nats)."""

    accuracy: float
    loss: float


def evaluate(model: nn.Module, x: Tensor, y: Tensor, batch_size: int | None = None) -> Score:
    """Evaluate ``model`` on inputs ``x [N, ...]`` with labels ``y [N]`` or ``[N, T]``.

    See :func:`score`.

    Raises:
        CimsimError: if there are no inputs.
    """
    return Score(**score(model, x, y, ClassTally(), batch_size))


def score(
    model: nn.Module, x: Tensor, y: Tensor, tally: Tally, batch_size: int | None = None
) -> dict[str, float]:
    """Return the scores by ``tally`` of inputs ``x [N, ...]`` with labels ``y [N, ...]``.

    The model is in evaluation mode meanwhile; its modes are restored afterwards. The default batch
    size is 1000, and 125 for convolutional networks on a CPU, whose feature maps then fit its
    caches.

    Raises:
        CimsimError: if there are no inputs, or the model's outputs do not fit the labels.
    """
    if len(x) == 0:
        raise CimsimError("cannot evaluate an empty data set")
    convolves = any(isinstance(module, nn.Conv2d) for module in model.modules())
    small = convolves and x.dim() == 4 and x.device.type == "cpu"
    batch_size = batch_size or (125 if small else 1000)
    if small:
        x = x.to(memory_format=torch.channels_last)  # faster convolution and pooling on CPUs
    batches = zip(x.split(batch_size), y.split(batch_size), strict=True)
    return score_batches(model, batches, tally)


def evaluate_batches(model: nn.Module, batches: Iterable[tuple[Any, Tensor]]) -> Score:
    """Evaluate ``model`` on pairs of inputs and labels, which are moved to the model's device.

    Inputs may have any form that :mod:`cimsim.nn.batches` accepts. See :func:`score`.

    Raises:
        CimsimError: if there are no inputs, a batch is not such a pair, or the model does not
            return logits.
    """
    return Score(**score_batches(model, batches, ClassTally()))


@torch.no_grad()
def score_batches(
    model: nn.Module, batches: Iterable[tuple[Any, Tensor]], tally: Tally
) -> dict[str, float]:
    """Return the scores that ``tally`` computes for pairs of inputs and labels.

    Raises:
        CimsimError: if there are no inputs, a batch is not such a pair, or the model does not
            return a tensor that fits the labels.
    """
    reader = BatchReader(model, "evaluate", "score it by a function of the model")
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    with evaluating(model):
        for number, batch in enumerate(batches):
            labels = _labels(batch, number).to(device)
            output = reader.run(batch, number)
            outputs = getattr(output, "logits", output)  # a ModelOutput of Hugging Face has them
            if not isinstance(outputs, Tensor):
                raise CimsimError(
                    f"the model must return its logits, not a {type(output).__name__}; wrap it in "
                    "a module that returns them"
                )
            try:
                tally.add(outputs, labels)
            except CimsimError as error:
                raise CimsimError(f"batch {number}: {error}") from None
    if not tally.count:
        raise CimsimError("cannot evaluate without any batch of inputs and labels")
    return tally.scores()


def _labels(batch: object, number: int) -> Tensor:
    pair = isinstance(batch, tuple | list) and len(batch) == 2
    if not (pair and isinstance(batch[1], Tensor)):  # type: ignore[index]
        raise CimsimError(
            f"batch {number} must be a pair of inputs and a tensor of labels, (inputs, labels), "
            f"not {_kind(batch)}; for other batches, write a function of the model"
        )
    labels: Tensor = batch[1]  # type: ignore[index]
    return labels


def _kind(batch: object) -> str:
    name = f"a {type(batch).__name__}"
    if isinstance(batch, tuple | list):
        return f"{name} of {', '.join(type(entry).__name__ for entry in batch) or 'nothing'}"
    return name
