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

__all__ = ["Recipe", "Use", "active", "draw", "native", "recipe", "use"]

Use = Literal["fused", "numbers", "torch"]
_use: Use = "fused"
_PLAIN = (Tensor, torch.nn.Parameter)


def active(*tensors: Tensor | None) -> bool:
    """Whether the fused operations serve ``tensors``: float32 on the CPU, and a library built."""
    return _use == "fused" and _serve(*tensors)


def draw(*tensors: Tensor) -> bool:
    """Whether the kernels draw the normal numbers of ``tensors``."""
    return _use != "torch" and _serve(*tensors)


def _serve(*tensors: Tensor | None) -> bool:
    if native.build().library is None:
        return False
    for t in tensors:
        if t is not None and not (t.is_cpu and t.dtype is torch.float32 and type(t) in _PLAIN):
            return False
    return True


@contextmanager
def use(which: Use) -> Iterator[None]:
    """Within the context, use the kernels for all they serve (``fused``, the default), for random
    numbers only (``numbers``: the reference that the fused operations are tested against), or not
    at all (``torch``)."""
    global _use
    before, _use = _use, which
    try:
        yield
    finally:
        _use = before
