"""A 2-d convolution on an array."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from cimsim.array import ConvTiling
from cimsim.array.tiling import ConvGeometry
from cimsim.nn.layer import AnalogLayer


class AnalogConv2d(AnalogLayer, nn.Conv2d):
    """``y = conv2d(x, W) + b`` with the products on an array; shapes as in ``torch.nn.Conv2d``.

    A column of the array holds one output channel's kernel; every output position is one read.
    Strides, dilation, groups and all padding modes as in torch. Made from a ``torch.nn.Conv2d`` by
    :func:`cimsim.convert`. The bias is digital.
    """

    def _tiling(self, max_rows: int) -> ConvTiling:
        kh, kw = self.kernel_size
        sh, sw = self.stride
        dh, dw = self.dilation
        ph, pw = (0, 0) if self._pads_first else _pair(self.padding)
        return ConvTiling(
            ConvGeometry(
                self.in_channels,
                self.out_channels,
                (kh, kw),
                (sh, sw),
                (ph, pw),
                (dh, dw),
                self.groups,
            ),
            max_rows,
        )

    @property
    def _pads_first(self) -> bool:
        """Padding that the product cannot do itself: by name, or with something other than zeros."""
        return isinstance(self.padding, str) or self.padding_mode != "zeros"

    def _digital(self, x: Tensor) -> Tensor:
        return nn.Conv2d.forward(self, x)

    def _vectors(self, x: Tensor) -> Tensor:
        batched = x if x.dim() == 4 else x.unsqueeze(0)
        if not self._pads_first:
            return batched
        mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
        return F.pad(batched, self._reversed_padding_repeated_twice, mode=mode)

    def _output(self, y: Tensor, x: Tensor) -> Tensor:
        if self.bias is not None:
            y = y + self.bias.view(-1, 1, 1)
        return y if x.dim() == 4 else y.squeeze(0)


def _pair(padding: tuple[int, ...] | str) -> tuple[int, int]:
    assert not isinstance(padding, str)
    return padding[0], padding[1]
