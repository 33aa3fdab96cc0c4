"""Conversion of tensors between dtypes and forms in memory."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def as_dtype(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """``tensor.to(dtype)``; without an operation of torch, which takes most of a microsecond, if it
    has that dtype already."""
    return tensor if tensor.dtype is dtype else tensor.to(dtype)


def keep_dtypes(module: nn.Module, before: Mapping[str, Tensor]) -> None:
    """Give tensors of ``module`` that were cast the dtypes and values that they had ``before``, on
    the device where they are now. Only these are read, so that others may be on the meta device.

    Called in ``_apply``, after the base class's; ``before`` contains detached tensors, because
    a parameter stays the same object while its data are replaced.
    """
    for name, precise in before.items():
        moved = getattr(module, name)
        if moved.dtype != precise.dtype:
            moved.data = precise.to(moved.device)


def in_memory(tensor: Tensor) -> Tensor:
    """``tensor`` as kernels read it: contiguous, and with the sign of its numbers in memory.

    The imaginary part of a conjugate, ``z.conj().imag``, is a view of the numbers of ``z`` with a
    flag for the sign, which :meth:`torch.Tensor.contiguous` does not resolve.
    """
    dense = tensor.contiguous()
    return dense.resolve_neg() if dense.is_neg() else dense
