"""Convolutions on an array, over any number of dimensions, and transposed ones."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cimsim.array import ConvTiling
from cimsim.array.tiling import ConvGeometry
from cimsim.dtypes import as_dtype
from cimsim.errors import CimsimError
from cimsim.nn.converter_ranges import compute_dtype
from cimsim.nn.layer import AnalogLayer
from cimsim.profile import ArraySpec
from cimsim.torch_private import Conv, ConvTranspose


class _OverPlaces(AnalogLayer, Conv):
    """Common part of convolutions and transposed convolutions: an optional batch axis."""

    dimensions: ClassVar[int]

    @property
    def outputs(self) -> int:
        """Output channels."""
        return self.out_channels

    @property
    def inputs(self) -> int:
        """Input channels."""
        return self.in_channels

    def _samples(self, x: Tensor) -> Tensor:
        return x if self._batched(x) else x.unsqueeze(0)

    def _refuse_shape(self, x: Tensor) -> None:
        places = x.dim() - 1 if x.dim() == self.dimensions + 1 else x.dim() - 2
        if places != self.dimensions or x.shape[-places - 1] != self.in_channels:
            axes = ", ".join(("depth", "height", "width")[-self.dimensions :])
            raise CimsimError(
                f"layer '{self.name}' expects inputs of shape [batch, {self.in_channels}, {axes}] "
                f"(or without the batch), but got {list(x.shape)}"
            )

    def _batched(self, x: Tensor) -> bool:
        return x.dim() == self.dimensions + 2


class _AnalogConv(_OverPlaces):
    """``y = conv(x, W) + b`` with the products on an array; shapes as in torch.

    A column of the array contains one output channel's kernel; every output position is one read.
    Strides, dilation, groups and all padding modes as in torch. The bias is digital.
    """

    @staticmethod
    def tiling(layer: nn.Module, array: ArraySpec) -> ConvTiling:
        """Whole input channels on tiles, see :class:`cimsim.array.ConvTiling`."""
        assert isinstance(layer, Conv)
        nowhere = (0,) * len(layer.kernel_size)
        padding = nowhere if _pads_first(layer) else layer.padding
        assert isinstance(padding, tuple)
        geometry = ConvGeometry(
            in_channels=layer.in_channels,
            out_channels=layer.out_channels + layer.groups * array.spare_columns,
            kernel=layer.kernel_size,
            stride=layer.stride,
            padding=padding,
            dilation=layer.dilation,
            groups=layer.groups,
        )
        return ConvTiling(geometry, array.rows, even=array.row_split == "even")

    def _layout(self, weight: Tensor) -> tuple[object, ...]:
        padding = self.padding, self.padding_mode
        return weight.shape, self.stride, padding, self.dilation, self.groups

    def _digital(self, x: Tensor, weight: Tensor, *others: Any, bias: bool = True) -> Tensor:
        y: Tensor = self._conv_forward(x, weight, self.bias if bias else None)
        return y

    def _vectors(self, x: Tensor) -> Tensor:
        batched = self._samples(x)
        if not _pads_first(self):
            return batched
        mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
        return F.pad(batched, self._reversed_padding_repeated_twice, mode=mode)

    def _output(self, y: Tensor, x: Tensor, *others: Any) -> Tensor:
        return y if self._batched(x) else y.squeeze(0)


class AnalogConv1d(_AnalogConv, nn.Conv1d):
    """A ``torch.nn.Conv1d`` on an array, made by :func:`cimsim.convert`."""

    torch_class: ClassVar[type[nn.Module]] = nn.Conv1d
    dimensions, columns_dim = 1, -2


class AnalogConv2d(_AnalogConv, nn.Conv2d):
    """A ``torch.nn.Conv2d`` on an array, made by :func:`cimsim.convert`."""

    torch_class: ClassVar[type[nn.Module]] = nn.Conv2d
    dimensions, columns_dim = 2, -3


class AnalogConv3d(_AnalogConv, nn.Conv3d):
    """A ``torch.nn.Conv3d`` on an array, made by :func:`cimsim.convert`."""

    torch_class: ClassVar[type[nn.Module]] = nn.Conv3d
    dimensions, columns_dim = 3, -4


def _pads_first(layer: Conv) -> bool:
    """Padding that the product cannot do itself: by name, or with something other than zeros."""
    return isinstance(layer.padding, str) or layer.padding_mode != "zeros"


class _AnalogConvTranspose(_OverPlaces, ConvTranspose):
    """``y = conv_transpose(x, W) + b`` with the products on an array; shapes as in torch.

    Every input position is one read. A column contains the weights from all input channels to one
    entry of one output channel's kernel; the columns' outputs are placed and summed digitally, with
    the bias. No zeros are inserted between the inputs.
    """

    @staticmethod
    def tiling(layer: nn.Module, array: ArraySpec) -> ConvTiling:
        """A pointwise convolution with a column for each entry of each output channel's kernel."""
        assert isinstance(layer, ConvTranspose)
        once = (1,) * len(layer.kernel_size)
        geometry = ConvGeometry(
            in_channels=layer.in_channels,
            out_channels=layer.out_channels * math.prod(layer.kernel_size)
            + layer.groups * array.spare_columns,
            kernel=once,
            stride=once,
            padding=(0,) * len(once),
            dilation=once,
            groups=layer.groups,
        )
        return ConvTiling(geometry, array.rows, even=array.row_split == "even")

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """See :meth:`AnalogLayer.forward`; ``output_size`` as in torch."""
        return self._call(input, output_size)

    @property
    def _array_bias(self) -> Tensor | None:
        return None

    def to_matrix(self, weight: Tensor) -> Tensor:
        """``[in, out/groups, *kernel]`` as ``[out * kernel, in/groups, 1, …]``."""
        grouped: Tensor = weight.unflatten(0, (self.groups, -1)).movedim(1, -1)
        inputs = self.in_channels // self.groups
        return grouped.reshape(-1, inputs, *[1] * self.dimensions)

    def from_matrix(self, matrix: Tensor) -> Tensor:
        """Inverse of :meth:`to_matrix`."""
        outputs, inputs = self.out_channels // self.groups, self.in_channels // self.groups
        grouped = matrix.reshape(self.groups, outputs, *self.kernel_size, inputs)
        return grouped.movedim(-1, 1).flatten(0, 1)

    def _digital(self, x: Tensor, weight: Tensor, *others: Any, bias: bool = True) -> Tensor:
        sizes = self._sizes(x, *others)
        return self._transposed(x, self.from_matrix(weight), sizes, self.groups, bias)

    def _vectors(self, x: Tensor) -> Tensor:
        return self._samples(x)

    def _output(self, y: Tensor, x: Tensor, *others: Any) -> Tensor:
        y = as_dtype(y, compute_dtype(self.weight))  # sums of rounded numbers are less exact
        entries = math.prod(self.kernel_size)
        places = torch.eye(entries, dtype=y.dtype, device=y.device)
        places = places.view(entries, 1, *self.kernel_size).repeat(
            self.out_channels, 1, *[1] * self.dimensions
        )
        output = self._transposed(y, places, self._sizes(x, *others), self.out_channels)
        return output if self._batched(x) else output.squeeze(0)

    def _sizes(self, x: Tensor, output_size: list[int] | None = None) -> list[int]:
        """Padding of the output, so that it has ``output_size``."""
        shape: Any = self.stride, self.padding, self.kernel_size, self.dimensions, self.dilation
        padding: list[int] = self._output_padding(x, output_size, *shape)
        return padding

    def _transposed(
        self,
        x: Tensor,
        weight: Tensor,
        output_padding: list[int],
        groups: int,
        with_bias: bool = True,
    ) -> Tensor:
        bias = self.bias.to(x.dtype) if with_bias and self.bias is not None else None
        rest: Any = self.stride, self.padding, output_padding, groups, self.dilation
        return _TRANSPOSED[self.dimensions](x, weight, bias, *rest)


_TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


class AnalogConvTranspose1d(_AnalogConvTranspose, nn.ConvTranspose1d):
    """A ``torch.nn.ConvTranspose1d`` on an array, made by :func:`cimsim.convert`."""

    torch_class: ClassVar[type[nn.Module]] = nn.ConvTranspose1d
    dimensions, columns_dim = 1, -2


class AnalogConvTranspose2d(_AnalogConvTranspose, nn.ConvTranspose2d):
    """A ``torch.nn.ConvTranspose2d`` on an array, made by :func:`cimsim.convert`."""

    torch_class: ClassVar[type[nn.Module]] = nn.ConvTranspose2d
    dimensions, columns_dim = 2, -3


class AnalogConvTranspose3d(_AnalogConvTranspose, nn.ConvTranspose3d):
    """A ``torch.nn.ConvTranspose3d`` on an array, made by :func:`cimsim.convert`."""

    torch_class: ClassVar[type[nn.Module]] = nn.ConvTranspose3d
    dimensions, columns_dim = 3, -4
