"""What a gradient corrector is: it measures the loss itself, where the gradient is a
surrogate's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

Loss = Callable[[], float | Tensor]
"""The loss at the parameters as they are now; the same batch and the same chip at every call. It
may be anything: no gradient is asked of it."""

Share = Annotated[float, Field(ge=0, le=1)]
_SMALLEST = 1e-30


class Corrector(ABC):
    """Replaces the gradients of some parameters by what was measured with the loss.

    ``start`` is the share of the training after which it acts. Works on any parameters and any loss
    (also hardware in the loop), without the rest of this library::

        corrector.correct([layer.weight], loss, [0.01], torch.Generator())
    """

    name: ClassVar[str]
    start: float
    surrogate: str

    @abstractmethod
    def correct(
        self,
        parameters: Sequence[Tensor],
        loss: Loss,
        epsilon: Sequence[float],
        draws: torch.Generator,
        progress: float = 1.0,
    ) -> None:
        """Write the measured gradient into ``parameter.grad``; the parameters stay as they are.

        Args:
            parameters: what is perturbed.
            loss: see :data:`Loss`.
            epsilon: the size of a perturbation, one for each parameter.
            draws: random directions, on the parameters' device.
            progress: share of the training that is done.
        """


def central_difference(
    parameters: Sequence[Tensor], change: Sequence[Tensor], loss: Loss
) -> float | Tensor:
    """``(L(w + change) - L(w - change)) / 2``; afterwards ``w`` is bit for bit what it was."""
    with _moved(parameters, change, 1.0):
        above = loss()
    with _moved(parameters, change, -1.0):
        below = loss()
    return (above - below) / 2


@contextmanager
def _moved(parameters: Sequence[Tensor], change: Sequence[Tensor], sign: float) -> Iterator[None]:
    before = [parameter.detach().clone() for parameter in parameters]
    try:
        with torch.no_grad():
            for parameter, delta in zip(parameters, change, strict=True):
                parameter.add_(delta, alpha=sign)
        yield
    finally:
        with torch.no_grad():
            for parameter, was in zip(parameters, before, strict=True):
                parameter.copy_(was)


def norm(tensors: Sequence[Tensor]) -> Tensor:
    """Euclidean norm of all of them together, at least a tiny number."""
    lengths = torch.stack([torch.linalg.vector_norm(tensor) for tensor in tensors])
    length: Tensor = torch.linalg.vector_norm(lengths)
    return length.clamp_min(_SMALLEST)
