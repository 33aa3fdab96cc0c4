"""A linear layer on an array."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cimsim.array import LinearTiling
from cimsim.errors import CimsimError
from cimsim.nn.layer import AnalogLayer
from cimsim.profile import ArraySpec
from cimsim.torch_private import is_view, unsafe_view


class AnalogLinear(AnalogLayer, nn.Linear):
    """``y = x W^T + b`` with the product on an array; ``x [..., in]``, ``y [..., out]``.

    Made from a ``torch.nn.Linear`` by :func:`cimsim.convert`. The bias is digital.
    """

    torch_class: ClassVar[type[nn.Module]] = nn.Linear
    columns_dim: ClassVar[int] = -1

    @staticmethod
    def tiling(layer: nn.Module, array: ArraySpec) -> LinearTiling:
        """Inputs on tiles, see :class:`cimsim.array.LinearTiling`."""
        assert isinstance(layer, nn.Linear)
        return LinearTiling(layer.in_features, array.rows, even=array.row_split == "even")

    @property
    def outputs(self) -> int:
        """Output features."""
        return self.out_features

    @property
    def inputs(self) -> int:
        """Input features."""
        return self.in_features

    def _digital(self, x: Tensor, weight: Tensor, *others: Any, bias: bool = True) -> Tensor:
        return F.linear(x, weight, self.bias if bias else None)

    def _refuse_shape(self, x: Tensor) -> None:
        refuse_width(self.name, x, self.in_features)

    def _samples(self, x: Tensor) -> Tensor:
        return x if x.dim() == 2 else x.reshape(-1, self.in_features)

    def _vectors(self, x: Tensor) -> Tensor:
        return self._samples(x)

    def _output(self, y: Tensor, x: Tensor, *others: Any) -> Tensor:
        return as_rows(y, x)


def refuse_width(name: str, x: Tensor, width: int) -> None:
    """Check an input of the layer ``name``.

    Raises:
        CimsimError: if its last axis does not have ``width`` entries.
    """
    if x.dim() == 0 or x.shape[-1] != width:
        raise CimsimError(
            f"layer '{name}' expects inputs with {width} features in their last axis, but got a "
            f"tensor of shape {list(x.shape)}"
        )


def as_rows(y: Tensor, x: Tensor) -> Tensor:
    """``y [vectors, out]`` in the shape of ``x`` except for its last axis.

    Not a view, like the output of ``nn.Linear``: later operations may write to it.
    """
    if x.dim() == 2 and (torch.compiler.is_compiling() or not is_view(y)):
        return y
    return unsafe_view(y, [*x.shape[:-1], y.shape[-1]])
