"""The linear layer of GPT-2 in Hugging Face's ``transformers``, on an array.

``transformers`` is not required, and not imported: a model that uses it has imported it already.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from cimsim.array import LinearTiling
from cimsim.nn.layer import AnalogLayer
from cimsim.nn.linear import as_rows, refuse_width
from cimsim.profile import ArraySpec


def conv1d() -> type[nn.Module] | None:
    """``transformers.pytorch_utils.Conv1D``; None if ``transformers`` was not imported."""
    module = sys.modules.get("transformers.pytorch_utils")
    kind: type[nn.Module] | None = None if module is None else module.Conv1D
    return kind


@cache
def analog_conv1d() -> type[AnalogLayer]:
    """The analog layer that replaces :func:`conv1d`, which must exist."""
    kind = conv1d()
    assert kind is not None
    names = {"torch_class": kind, "__doc__": _WHAT, "__module__": __name__}
    return type("AnalogConv1D", (_AnalogConv1D, kind), names)


def __getattr__(name: str) -> Any:
    """``AnalogConv1D``, which exists where ``transformers`` does; pickle looks for it here."""
    if name == "AnalogConv1D":
        import transformers.pytorch_utils  # noqa: F401

        return analog_conv1d()
    raise AttributeError(name)


_WHAT = """``y = x W + b`` with the product on an array; ``x [..., in]``, ``W [in, out]``.

Made from a ``transformers.pytorch_utils.Conv1D`` by :func:`cimsim.convert`. The bias is digital.
"""


class _AnalogConv1D(AnalogLayer):
    columns_dim: ClassVar[int] = -1

    @staticmethod
    def tiling(layer: nn.Module, array: ArraySpec) -> LinearTiling:
        """Inputs on tiles, see :class:`cimsim.array.LinearTiling`."""
        assert isinstance(layer.weight, Tensor)
        return LinearTiling(len(layer.weight), array.rows, even=array.row_split == "even")

    @property
    def outputs(self) -> int:
        """Output features."""
        return self.weight.shape[1]

    @property
    def inputs(self) -> int:
        """Input features."""
        return self.weight.shape[0]

    def to_matrix(self, weight: Tensor) -> Tensor:
        """``[out, in]``."""
        return weight.t()

    def from_matrix(self, matrix: Tensor) -> Tensor:
        """``[in, out]``."""
        return matrix.t()

    def _digital(self, x: Tensor, weight: Tensor, *others: Any, bias: bool = True) -> Tensor:
        return torch.nn.functional.linear(x, weight, self.bias if bias else None)

    def forward(self, x: Tensor) -> Tensor:
        """See :meth:`AnalogLayer.forward`; ``transformers`` calls the argument ``x``."""
        return self._call(x)

    def _refuse_shape(self, x: Tensor) -> None:
        refuse_width(self.name, x, len(self.weight))

    def _samples(self, x: Tensor) -> Tensor:
        return x.reshape(-1, x.shape[-1])

    def _vectors(self, x: Tensor) -> Tensor:
        return self._samples(x)

    def _output(self, y: Tensor, x: Tensor, *others: Any) -> Tensor:
        return as_rows(y, x)
