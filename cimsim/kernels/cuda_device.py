"""How kernels are launched: on the GPU that holds the operands, and with operands left out."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

import torch
from torch import Tensor

_P = ParamSpec("_P")
_R = TypeVar("_R")


def on_its_device(
    function: Callable[Concatenate[Tensor, _P], _R],
) -> Callable[Concatenate[Tensor, _P], _R]:
    """Return ``function``, run with the GPU of its first operand as the current one.

    Triton launches on the current GPU.
    """

    @wraps(function)
    def run(first: Tensor, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        if not first.is_cuda or first.get_device() == torch.cuda.current_device():
            return function(first, *args, **kwargs)
        with torch.cuda.device_of(first):
            return function(first, *args, **kwargs)

    return run


def or_unread(tensor: Tensor | None, other: Tensor) -> Tensor:
    """Return ``tensor``, or an address to pass in its place to a kernel that does not read it."""
    return other if tensor is None else tensor
