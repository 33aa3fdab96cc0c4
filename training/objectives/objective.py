"""Base class of objectives, and the data of a training step that they use."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from cimsim.training.tasks import CLASSIFICATION, Task

Weight = Annotated[float, Field(ge=0)]


Context = Callable[[], AbstractContextManager[object]]
OnChip = Callable[[int, float], AbstractContextManager[object]]


def _same_chip(chip: int, louder: float) -> AbstractContextManager[object]:
    return nullcontext()


@dataclass(frozen=True)
class TrainStep:
    """One training step, after its forward pass.

    Attributes:
        model: the model, in training mode.
        x, y: inputs and labels of the batch.
        logits: output of the model on the chip, with its autograd graph.
        repeated: context in which the model repeats the forward pass of ``logits``, with the same
            chips and dropout, and without updating batch statistics.
        plain: the same context for digital computation.
        strength: fraction of the noise in this step, 0 to 1; 1 if the method trains without noise,
            for objectives that use it.
        number: number of the step.
        draws: random generator of the step.
        task: kind of the labels.
        other_chip: context in which the model computes on the chip of a number (1, 2, …) with a
            factor on all noise, and without updating batch statistics.
        curvature: function that returns the mean over labels of the squared gradient of a
            parameter, or None if it is not available yet.
    """

    model: nn.Module
    x: Tensor
    y: Tensor
    logits: Tensor
    repeated: Context
    plain: Context
    strength: float
    number: int
    draws: torch.Generator
    curvature: Callable[[nn.Parameter], Tensor | None]
    task: Task = CLASSIFICATION
    other_chip: OnChip = _same_chip

    def on_chip(self, number: int, louder: float = 1.0) -> Tensor:
        """Run the forward pass on another chip, with ``louder`` times the noise."""
        with self.other_chip(number, louder):
            logits: Tensor = self.model(self.x)
            return logits

    def again(self) -> Tensor:
        """Repeat the forward pass on the same chip, for changed weights."""
        with self.repeated():
            logits: Tensor = self.model(self.x)
            return logits

    def digital(self) -> Tensor:
        """Run the forward pass digitally."""
        with self.plain():
            logits: Tensor = self.model(self.x)
            return logits


class Objective(ABC):
    """One term of the loss; the loss is the sum of ``weight * term(step)`` over all terms.

    ``wants_curvature`` marks a term that uses the curvature of the other terms. ``reads_weights``
    marks a term that reads parameters outside of the model's forward pass, where a process with
    sharded parameters has only shards. ``changes_noise`` marks a term with a forward pass under
    other noise, which backward cannot compute again. ``needs_start`` marks a term that uses the
    initial weights as those of a trained model. ``tasks`` are the kinds of labels that it applies
    to.
    """

    name: ClassVar[str]
    tasks: ClassVar[tuple[str, ...]] = ("classification", "text", "regression")
    wants_curvature: ClassVar[bool] = False
    reads_weights: bool = False
    changes_noise: ClassVar[bool] = False
    needs_start: bool = False
    weight: float

    def prepare(self, model: nn.Module, data_dir: Path | None, trust: bool = False) -> None:
        """Prepare for the untrained model, once, before anything is written or trained.

        ``trust`` allows importing functions named in files, such as a teacher's run.

        Raises:
            CimsimError: if the objective does not apply to this model.
        """
        return

    def watching(self, model: nn.Module) -> AbstractContextManager[object]:
        """Return a context to hold around the forward pass that the loss is computed from."""
        return nullcontext()

    @abstractmethod
    def term(self, step: TrainStep) -> Tensor:
        """Return the term, a scalar."""
