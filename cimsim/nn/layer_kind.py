"""The definition of a kind of analog layer: its torch class, and shapes between layer and array."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn

from cimsim.array import Tiling
from cimsim.profile import ArraySpec


class LayerKind(nn.Module):
    """Base of the kinds of layers.

    Attributes:
        torch_class: the torch layer that it replaces, and from which it also inherits.
        columns_dim: dimension of the layer's output that the columns are in.
    """

    weight: Tensor
    bias: Any  # Tensor or None, which torch declares differently for each layer
    torch_class: ClassVar[type[nn.Module]]
    columns_dim: ClassVar[int]

    @staticmethod
    def tiling(layer: nn.Module, array: ArraySpec) -> Tiling:
        """Layout of the weights of ``layer`` (analog or digital) on the tiles of ``array``."""
        raise NotImplementedError

    @property
    def outputs(self) -> int:
        """Number of outputs, or output channels."""
        raise NotImplementedError

    @property
    def inputs(self) -> int:
        """Number of inputs, or input channels."""
        raise NotImplementedError

    def _layout(self, weight: Tensor) -> tuple[object, ...]:
        """What :meth:`tiling` depends on, for the current ``weight``; it may change."""
        return (weight.shape,)

    def to_matrix(self, weight: Tensor) -> Tensor:
        """``weight`` (or another tensor of its shape) as the array takes it, with one column for
        each entry of the first axis; the weight itself for most layers."""
        return weight

    def from_matrix(self, matrix: Tensor) -> Tensor:
        """Inverse of :meth:`to_matrix`."""
        return matrix

    @property
    def _array_bias(self) -> Tensor | None:
        """The bias, as added to the array's output."""
        bias: Tensor | None = self.bias
        return bias

    def _digital(self, x: Tensor, weight: Tensor, *others: Any, bias: bool = True) -> Tensor:
        """The torch layer's own forward, with ``weight`` as :meth:`to_matrix` returns it;
        ``others`` are further arguments of that forward. Without the bias if ``bias`` is false."""
        raise NotImplementedError

    def _refuse_shape(self, x: Tensor) -> None:
        """Raise a :class:`cimsim.CimsimError` if the layer takes inputs of another shape."""
        raise NotImplementedError

    def _samples(self, x: Tensor) -> Tensor:
        """The input with one sample for each entry of its first axis, for quantizers."""
        raise NotImplementedError

    def _vectors(self, x: Tensor) -> Tensor:
        """The input in the shape that the tiling multiplies."""
        raise NotImplementedError

    def _output(self, y: Tensor, x: Tensor, *others: Any) -> Tensor:
        """The array's output in the layer's output shape."""
        raise NotImplementedError
