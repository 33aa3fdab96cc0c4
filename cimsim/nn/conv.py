"""A 2-d convolution on an array."""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from cimsim.array import ConvTiling
from cimsim.array.tiling import ConvGeometry
from cimsim.nn.layer import AnalogLayer
from cimsim.profile import Array


class AnalogConv2d(AnalogLayer, nn.Conv2d):
    """``y = conv2d(x, W) + b`` with the products on an array; shapes as in ``torch.nn.Conv2d``.

    A column of the array holds one output channel's kernel; every output position is one read.
    Strides, dilation, groups and all padding modes as in torch. Made from a ``torch.nn.Conv2d`` by
    :func:`cimsim.convert`. The bias is digital.
    """

    columns_dim: ClassVar[int] = -3

    @staticmethod
    def tiling(layer: nn.Module, array: Array) -> ConvTiling:
        """Whole input channels on tiles, see :class:`cimsim.array.ConvTiling`."""
        assert isinstance(layer, nn.Conv2d)
        kh, kw = layer.kernel_size
        sh, sw = layer.stride
        dh, dw = layer.dilation
        padding = layer.padding
        if isinstance(padding, str) or _pads_first(layer):
            padding = (0, 0)
        ph, pw = padding
        geometry = ConvGeometry(
            in_channels=layer.in_channels,
            out_channels=layer.out_channels,
            kernel=(kh, kw),
            stride=(sh, sw),
            padding=(ph, pw),
            dilation=(dh, dw),
            groups=layer.groups,
        )
        return ConvTiling(geometry, array.rows, even=array.row_split == "even")

    def _digital(self, x: Tensor, weight: Tensor) -> Tensor:
        y: Tensor = self._conv_forward(x, weight, self.bias)
        return y

    def _samples(self, x: Tensor) -> Tensor:
        return x if x.dim() == 4 else x.unsqueeze(0)

    def _vectors(self, x: Tensor) -> Tensor:
        batched = self._samples(x)
        if not _pads_first(self):
            return batched
        mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
        return F.pad(batched, self._reversed_padding_repeated_twice, mode=mode)

    def _output(self, y: Tensor, x: Tensor) -> Tensor:
        return y if x.dim() == 4 else y.squeeze(0)


def _pads_first(layer: nn.Conv2d) -> bool:
    """Padding that the product cannot do itself: by name, or with something other than zeros."""
    return isinstance(layer.padding, str) or layer.padding_mode != "zeros"
