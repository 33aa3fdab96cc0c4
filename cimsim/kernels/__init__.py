"""Fused versions of the measured hot spots, each beside its plain-torch reference.

The rest of the library asks :func:`active` and calls :mod:`cimsim.kernels.native`, or does the same
with torch. Both draw the same numbers on one machine; without a compiler torch draws its own.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from textwrap import shorten
from types import ModuleType
from typing import Literal

import torch
from torch import Tensor

from cimsim.kernels import native
from cimsim.kernels.recipe import Recipe, not_programmed, recipe

__all__ = ["Recipe", "Use", "active", "draw", "native", "not_programmed", "recipe", "use"]

Use = Literal["fused", "numbers", "torch"]
_use: Use = "fused"
_PLAIN = (Tensor, torch.nn.Parameter)


def active(*tensors: Tensor | None) -> ModuleType | None:
    """The fused operations that serve ``tensors``, if any: :mod:`cimsim.kernels.native` on the CPU
    where the library is built, :mod:`cimsim.kernels.gpu` on CUDA where there is Triton; float32."""
    return _serving(*tensors) if _use == "fused" else None


def draw(tensor: Tensor) -> ModuleType | None:
    """The kernels that draw the normal numbers of ``tensor``, if any do."""
    return None if _use == "torch" else _serving(tensor)


def _serving(*tensors: Tensor | None) -> ModuleType | None:
    device = None
    for t in tensors:
        if t is None:
            continue
        if t.dtype is not torch.float32 or type(t) not in _PLAIN:
            return None
        if device is None:
            device = t.device.type
        elif t.device.type != device:
            return None
    if device == "cpu":
        return native if native.build().library is not None else None
    return _gpu() if device == "cuda" else None


@lru_cache(maxsize=1)
def _gpu() -> ModuleType | None:
    """The Triton kernels, if they work on this GPU; looked at once."""
    try:
        gpu = import_module("cimsim.kernels.gpu")
        gpu.check("cuda")
    except ImportError:  # no Triton
        return None
    except Exception as error:  # Triton raises what its compiler does
        reason = shorten(f"{type(error).__name__}: {error}", 500)
        warnings.warn(f"cimsim computes without its GPU kernels: {reason}", stacklevel=2)
        return None
    return gpu


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
