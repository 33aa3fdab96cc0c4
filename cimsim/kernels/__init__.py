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
_PLAIN = (Tensor, torch.nn.Parameter)


def active(*tensors: Tensor | None) -> bool:
    """Whether the kernels serve operations on ``tensors``: float32 on the CPU, a library built."""
    if not _fused or native.build().library is None:
        return False
    for t in tensors:
        if t is not None and not (t.is_cpu and t.dtype is torch.float32 and type(t) in _PLAIN):
            return False
    return True


@contextmanager
def use(which: Literal["fused", "torch"]) -> Iterator[None]:
    """Within the context, use the kernels where they serve, or plain torch everywhere."""
    global _fused
    before, _fused = _fused, which == "fused"
    try:
        yield
    finally:
        _fused = before
