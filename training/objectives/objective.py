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


@dataclass(frozen=True)
class Step:
    """One training step, after its forward pass.

    Attributes:
        model: the model, in training mode.
        x, y: the batch, inputs and labels.
        logits: what the model gave on the device; carries gradients.
        again: the same forward again, on the same chips (for changed weights).
        digital: the forward without the device.
        strength: the share of the noise in this step, 0 to 1.
        draws: the step's own random numbers.
        curvature: the mean squared gradient of a parameter so far, None if it is not known yet.
    """

    model: nn.Module
    x: Tensor
    y: Tensor
    logits: Tensor
    again: Callable[[], Tensor]
    digital: Callable[[], Tensor]
    strength: float
    draws: torch.Generator
    curvature: Callable[[nn.Parameter], Tensor | None]


class Objective(ABC):
    """One term of the loss; the loss is the sum of ``weight * term(step)`` over all of them."""

    name: ClassVar[str]
    weight: float

    def prepare(self, model: nn.Module, data_dir: Path | None) -> None:
        """Called once, before anything is written or trained, with the untrained model.

        Raises:
            CimsimError: if the objective makes no sense for this model.
        """
        return

    def watching(self, model: nn.Module) -> AbstractContextManager[object]:
        """What is to be around the forward pass that the loss is taken of."""
        return nullcontext()

    @abstractmethod
    def term(self, step: Step) -> Tensor:
        """The term, a scalar."""
