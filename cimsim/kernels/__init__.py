"""Compiled versions of the measured hot spots; each has a plain-torch reference.

:func:`active` returns the back end that serves some tensors, or None where plain torch computes.
Both draw the same random numbers on one machine; without a compiler, torch draws its own.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from textwrap import shorten
from typing import Literal, cast

import torch
from torch import Tensor

from cimsim.kernels import cpu, wires
from cimsim.kernels.packing import PackedPhysics, not_programmed, pack
from cimsim.kernels.types import Backend, ProgrammingBackend
from cimsim.torch_private import has_memory

__all__ = [
    "Backend",
    "PackedPhysics",
    "ProgrammingBackend",
    "Use",
    "active",
    "active_programming",
    "cpu",
    "draw",
    "not_programmed",
    "of_device",
    "pack",
    "run_on_cpu",
    "solves_wires",
    "use",
    "wires",
]

Use = Literal["fused", "numbers", "torch"]
_use: Use = "fused"
_PLAIN = (Tensor, torch.nn.Parameter)
_LOW = (torch.bfloat16, torch.float16)


def active(*tensors: Tensor | None) -> Backend | None:
    """The back end for ``tensors``: :mod:`cimsim.kernels.cpu` where its library is built, or
    :mod:`cimsim.kernels.cuda` where there is Triton. None for mixed devices, for subclasses of
    tensors, for tensors without memory, and for other dtypes than float32, and bf16 and float16 on
    a GPU."""
    return _serving(*tensors) if _use == "fused" else None


def active_programming(*tensors: Tensor | None) -> ProgrammingBackend | None:
    """The back end for ``tensors``, if it programs cells; weights are in float32."""
    backend = active(*tensors)
    if backend is None or not backend.programs:
        return None
    for t in tensors:
        if t is not None and t.dtype is not torch.float32:
            return None
    return cast(ProgrammingBackend, backend)


def run_on_cpu(*tensors: Tensor) -> bool:
    """Whether functions of :mod:`cimsim.kernels.cpu` read ``tensors``, of any dtype."""
    plain = all(t.is_cpu and type(t) in _PLAIN and not t.is_neg() for t in tensors)
    if not (plain and _use == "fused" and cpu.build().library is not None):
        return False
    return all(map(has_memory, tensors))


def draw(tensor: Tensor) -> Backend | None:
    """The back end that samples the normal numbers of ``tensor``, or None."""
    return None if _use == "torch" else _serving(tensor)


def solves_wires(g_S: Tensor) -> bool:
    """Whether :func:`cimsim.kernels.wires.solve` solves crossbars of these conductances."""
    plain = type(g_S) in _PLAIN and g_S.device.type == "cpu"
    known = g_S.dtype in (torch.float32, torch.float64)
    if not (_use == "fused" and plain and known and cpu.build().library is not None):
        return False
    return wires.build().library is not None


def _serving(*tensors: Tensor | None) -> Backend | None:
    kind = None
    for t in tensors:
        if t is None:
            continue
        own = "cpu" if t.is_cpu else "cuda" if t.is_cuda else None
        if own is None or own != (kind or own) or type(t) not in _PLAIN:
            return None
        if t.dtype is not torch.float32 and (own == "cpu" or t.dtype not in _LOW):
            return None
        if not has_memory(t):
            return None
        kind = own
    return None if kind is None else of_device(kind)


def of_device(kind: str) -> Backend | None:
    """The back end of a kind of device, such as ``cuda``, if it works there."""
    if kind == "cpu":
        return cpu if cpu.build().library is not None else None
    return _cuda() if kind == "cuda" else None


@lru_cache(maxsize=1)
def _cuda() -> Backend | None:
    """The Triton kernels if they work on this GPU, which is checked once."""
    try:
        cuda = import_module("cimsim.kernels.cuda")
        import_module("cimsim.kernels.cuda_check").check("cuda")
    except ImportError:  # no Triton
        return None
    except Exception as error:  # Triton raises what its compiler does
        reason = shorten(f"{type(error).__name__}: {error}", 500)
        warnings.warn(
            f"the GPU kernels are disabled, so plain torch is used: {reason}", stacklevel=2
        )
        return None
    return cast(Backend, cuda)


@contextmanager
def use(which: Use) -> Iterator[None]:
    """Choose within the context what the kernels compute: all they can (``fused``, the default),
    random numbers only (``numbers``, the reference of the tests), or nothing (``torch``)."""
    global _use
    before, _use = _use, which
    try:
        yield
    finally:
        _use = before
