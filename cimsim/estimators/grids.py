"""The grid on which the outputs of an analog layer lie: the steps of its ADC."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from cimsim.array import LinearTiling
from cimsim.estimators.function import MvmCall
from cimsim.estimators.sharing import made_by

_FEWEST_COLUMNS = 64  # fewer take longer to convert than memory is worth


class Grid(NamedTuple):
    """Numbers ``code * scale + bias``, with one scale and one bias for each entry of the last axis
    of a contiguous tensor, or of a view of it that keeps the order of its numbers."""

    scale: Tensor
    bias: Tensor


def grid_of(x: Tensor) -> Grid | None:
    """The grid that ``x`` probably is on, because an analog linear layer computed it.

    None if something else did, if several tiles of rows or slices are added, if codes need more
    than one signed byte, or if there are few columns. Other parts of an array may also shift
    numbers off this grid.
    """
    node: Any = made_by(x)
    call = getattr(node, "call", None)
    if not isinstance(call, MvmCall):
        return None
    adc, tiling = call.array.adc, call.array.tiling
    if adc is None or adc.storage is not torch.int8 or not isinstance(tiling, LinearTiling):
        return None
    if tiling.tiles > 1 or call.array.profile.array.slices > 1 or not x.is_contiguous():
        return None
    if node.scale.shape[1] < _FEWEST_COLUMNS:
        return None
    with torch.no_grad():
        full = call.array.at_columns(call.ranges.adc, node.scale.shape[1])
        scale = (node.scale[0] * (full / adc.levels).flatten()).contiguous()
        bias = torch.zeros_like(scale) if node.bias is None else node.bias.clone()
    return Grid(scale, bias)
