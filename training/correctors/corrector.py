"""Base class of gradient correctors, which measure the loss instead of using a surrogate."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

Loss = Callable[[], float | Tensor]
"""Function that returns the loss at the current parameters.

Every call must use the same batch and the same chip. The loss need not be differentiable.
"""

Share = Annotated[float, Field(ge=0, le=1)]
_SMALLEST = 1e-30


class Corrector(ABC):
    """Replaces the gradients of some parameters by gradients from the loss at other parameters.

    ``start`` is the fraction of the training after which the corrector is active. It works on any
    parameters and any loss (including hardware in the loop), independent of the rest of cimsim::

        corrector.correct([layer.weight], loss, [0.01], torch.Generator())

    ``differentiates`` marks a corrector that calls ``backward()`` of the loss; it has all
    parameters of the model. Others only use the value of the loss; they have the weights of the
    analog layers, and a ``surrogate``. With ``other_chip``, the loss is that of another chip than
    the gradients that are corrected.
    """

    name: ClassVar[str]
    differentiates: ClassVar[bool] = False
    start: float
    surrogate: str
    other_chip: bool = False

    @abstractmethod
    def correct(
        self,
        parameters: Sequence[Tensor],
        loss: Loss,
        epsilon: Sequence[float],
        draws: torch.Generator,
        progress: float = 1.0,
    ) -> None:
        """Write the corrected gradient to ``parameter.grad``; the parameters are unchanged.

        Args:
            parameters: tensors to perturb.
            loss: see :data:`Loss`.
            epsilon: size of the perturbation of each parameter, if the corrector does not have
                one of its own.
            draws: generator of the random directions, on the parameters' device.
            progress: fraction of the training that is done.
        """


def central_difference(
    parameters: Sequence[Tensor], change: Sequence[Tensor], loss: Loss
) -> float | Tensor:
    """Return ``(L(w + change) - L(w - change)) / 2`` and restore ``w`` exactly."""
    with moved(parameters, change, 1.0):
        above = loss()
    with moved(parameters, change, -1.0):
        below = loss()
    return (above - below) / 2


@contextmanager
def moved(
    parameters: Sequence[Tensor], change: Sequence[Tensor], sign: float = 1.0
) -> Iterator[None]:
    """Add ``sign * change`` to the parameters within the block, and restore them exactly."""
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
    """Return the Euclidean norm over all tensors, clamped to a small positive number."""
    lengths = torch.stack([torch.linalg.vector_norm(tensor) for tensor in tensors])
    length: Tensor = torch.linalg.vector_norm(lengths)
    return length.clamp_min(_SMALLEST)
