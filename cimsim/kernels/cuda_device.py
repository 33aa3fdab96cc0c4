"""Launches on the GPU that holds the operands; Triton launches on the current one."""

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
    """Return ``function`` such that the GPU of its first operand is the current one in it."""

    @wraps(function)
    def run(first: Tensor, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        with torch.cuda.device_of(first):
            return function(first, *args, **kwargs)

    return run
