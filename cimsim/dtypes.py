"""Conversion of tensors between dtypes and forms in memory."""

from __future__ import annotations

import torch
from torch import Tensor


def as_dtype(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """``tensor.to(dtype)``; without an operation of torch, which takes most of a microsecond, if it
    has that dtype already."""
    return tensor if tensor.dtype is dtype else tensor.to(dtype)


def in_memory(tensor: Tensor) -> Tensor:
    """``tensor`` as kernels read it: contiguous, and with the sign of its numbers in memory.

    The imaginary part of a conjugate, ``z.conj().imag``, is a view of the numbers of ``z`` with a
    flag for the sign, which :meth:`torch.Tensor.contiguous` does not resolve.
    """
    dense = tensor.contiguous()
    return dense.resolve_neg() if dense.is_neg() else dense
