"""Fused versions of the measured hot spots on the CPU, each beside its plain-torch reference.

The rest of the library asks :func:`active` and calls :mod:`cimsim.kernels.native`, or does the same
with torch. Both draw the same numbers on one machine; without a compiler torch draws its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor

from cimsim.kernels import native
from cimsim.kernels.recipe import Recipe, recipe

__all__ = ["Recipe", "active", "native", "recipe", "use"]

_fused = True


def active(*tensors: Tensor | None) -> bool:
    """Whether the kernels serve operations on ``tensors``: float32 on the CPU, a library built."""
    if not _fused:
        return False
    for tensor in tensors:
        if tensor is not None and not (
            tensor.device.type == "cpu"
            and tensor.dtype == torch.float32
            and type(tensor) in (Tensor, torch.nn.Parameter)
        ):
            return False
    return native.build().library is not None


@contextmanager
def use(which: Literal["fused", "torch"]) -> Iterator[None]:
    """Within the context, use the kernels where they serve, or plain torch everywhere."""
    global _fused
    before, _fused = _fused, which == "fused"
    try:
        yield
    finally:
        _fused = before
