"""What an objective is, and what of a training step it may look at."""

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

Weight = Annotated[float, Field(ge=0)]


Context = Callable[[], AbstractContextManager[object]]


@dataclass(frozen=True)
class TrainStep:
    """One training step, after its forward pass.

    Attributes:
        model: the model, in training mode.
        x, y: the batch, inputs and labels.
        logits: what the model gave on the device; carries gradients.
        repeated: within it the model computes as it did for ``logits``: on the same chips, with the
            same dropout, and batch statistics untouched.
        plain: the same without the device.
        strength: the share of the noise in this step, 0 to 1; 1 where training meets no noise, for
            the objectives that know of it.
        number: the step's number.
        draws: the step's own random numbers.
        curvature: the mean squared gradient of a parameter so far, None if it is not known yet.
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

    def again(self) -> Tensor:
        """The forward on the device again, for changed weights."""
        with self.repeated():
            logits: Tensor = self.model(self.x)
            return logits

    def digital(self) -> Tensor:
        """The forward without the device."""
        with self.plain():
            logits: Tensor = self.model(self.x)
            return logits


class Objective(ABC):
    """One term of the loss; the loss is the sum of ``weight * term(step)`` over all of them.

    Curvature is that of the terms that do not want it themselves. ``reads_weights`` says that a
    term looks at parameters outside of the model's forward pass, where a process that shares them
    with others holds parts only.
    """

    name: ClassVar[str]
    wants_curvature: ClassVar[bool] = False
    reads_weights: ClassVar[bool] = False
    weight: float

    def prepare(self, model: nn.Module, data_dir: Path | None, trust: bool = False) -> None:
        """Called once, before anything is written or trained, with the untrained model.

        ``trust`` says whether a function that a file names, as a teacher's run may, is imported.

        Raises:
            CimsimError: if the objective makes no sense for this model.
        """
        return

    def watching(self, model: nn.Module) -> AbstractContextManager[object]:
        """What is to be around the forward pass that the loss is taken of."""
        return nullcontext()

    @abstractmethod
    def term(self, step: TrainStep) -> Tensor:
        """The term, a scalar."""
