"""Conversion of tensors between dtypes."""

from __future__ import annotations

import torch
from torch import Tensor


def as_dtype(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """``tensor.to(dtype)``; without an operation of torch, which takes most of a microsecond, if it
    has that dtype already."""
    return tensor if tensor.dtype is dtype else tensor.to(dtype)
