"""Crossbars with resistive lines on the CPU: calls of ``wires.cpp``, compiled on first use."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from cimsim.kernels.build import Build, load

_POINTER = ctypes.c_void_p
_INT = ctypes.c_int
_SIGNATURES: dict[str, tuple[type, ...]] = {
    "wires": (_POINTER, _POINTER, _POINTER, _POINTER, _INT, _POINTER, _POINTER, _INT),
}


@lru_cache(maxsize=1)
def build() -> Build:
    """Load the library, compiled first if it is not in the cache; once per process."""
    return load("wires", _SIGNATURES)


def solve(g_S: Tensor, resistances_ohm: Sequence[float], gradient: Tensor | None = None) -> Tensor:
    """Solve crossbars ``[arrays, rows, columns]`` with resistive lines, float32 or float64.

    Args:
        g_S: conductances of the cells.
        resistances_ohm: of a word segment, the first with source, a bit segment, the last with
            sink.
        gradient: by the effective conductances.

    Returns:
        The effective conductances, or, with ``gradient``, the gradient by ``g_S``.

    Raises:
        MemoryError: if memory is lacking.
    """
    library = build().library
    assert library is not None
    g_S = g_S.contiguous()
    gradient = None if gradient is None else gradient.contiguous()
    out, solved = torch.empty_like(g_S), ctypes.c_int()
    library.cimsim_wires(
        *(g_S.data_ptr(), None if gradient is None else gradient.data_ptr()),
        *((ctypes.c_int64 * 3)(*g_S.shape), (ctypes.c_double * 4)(*resistances_ohm)),
        *(g_S.dtype is torch.float64, out.data_ptr(), ctypes.byref(solved)),
        torch.get_num_threads(),
    )
    if not solved.value:
        rows, columns = g_S.shape[-2:]
        raise MemoryError(f"a crossbar of {rows} x {columns} cells with wires needs more memory")
    return out
