"""Gradients without a second derivative: it raises an error, and is never silently zero."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor

from cimsim.errors import CimsimError
from cimsim.torch_private import is_batched, transforming


def refuse_batched(dy: Tensor) -> None:
    """Refuse several gradients ``dy`` of one output in one backward pass.

    Raises:
        CimsimError: within ``is_grads_batched=True`` or ``vectorize=True``.
    """
    if transforming() or is_batched(dy):
        raise CimsimError(
            "an analog layer cannot differentiate a batch of outputs at once; leave out "
            "is_grads_batched=True or vectorize=True"
        )


def edge(x: Tensor) -> Tensor | None:
    """An empty tensor that depends on ``x`` in autograd's graph and holds none of its memory; None
    if ``x`` needs no gradient."""
    return torch.narrow_copy(x, 0, 0, 0) if x.requires_grad else None


def differentiable_once(
    gradients: Sequence[Tensor | None], depend_on: Sequence[Tensor | None]
) -> tuple[Tensor | None, ...]:
    """``gradients`` of a backward pass as functions of the tensors they depend on, whose derivative
    raises an error.

    Without ``create_graph=True`` they are returned unchanged.
    """
    if not torch.is_grad_enabled():
        return tuple(gradients)
    inputs = [t for t in depend_on if t is not None and t.requires_grad]
    if not inputs:
        return tuple(gradients)
    connected = iter(_Once.apply(len(inputs), *inputs, *(g for g in gradients if g is not None)))  # type: ignore[no-untyped-call]
    return tuple(None if g is None else next(connected) for g in gradients)


def refuse_second(*ignored: Any) -> NoReturn:
    """Refuse a second derivative.

    Raises:
        CimsimError: always.
    """
    raise CimsimError(
        "an analog layer has no second derivative (Hessians, gradient penalties, create_graph=True "
        "and another backward): its backward rule defines the first only; compute within "
        "`with cimsim.nn.digital(model):` instead"
    )


class _Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, count: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(gradient.view_as(gradient) for gradient in tensors[count:])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> NoReturn:
        refuse_second()
