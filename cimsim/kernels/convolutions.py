"""Convolutions with a group of kernels for each tile: by torch, or by a unit of the processor that
multiplies numbers of 16 bits, as in :mod:`cimsim.kernels.products`.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from cimsim.dtypes import as_dtype
from cimsim.kernels import cpu
from cimsim.kernels.cpu import Unit
from cimsim.kernels.memory import scratch
from cimsim.kernels.products import Product, can_split
from cimsim.kernels.types import Images

_CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
# The smallest busy share of a unit that is faster than torch: a unit sums 32 terms for 16
# columns at a time, and computes the gradients of 16 channels at a time.
_LEAST_USE = {Unit.MATRIX: 0.08, Unit.VECTOR: 0.6}
_FEWEST_CHANNELS = {Unit.MATRIX: 4, Unit.VECTOR: 12}
_MOST_WEIGHTS = 1 << 19  # of a tile, whose gradients are summed in the cache
_MOST_BYTES = 768 << 10  # of the packed rows for one row of the output, which are in the cache, too
_FEWEST_PRODUCTS = 1 << 20  # to prepare fewer takes longer than torch's products

_BYTES = (torch.int8, torch.uint8)

Shape = tuple[int, ...]


class Convolution(NamedTuple):
    """Images ``[batch, tiles * channels, *places]``, kernels ``[tiles * columns, channels,
    *kernel]`` and outputs ``[batch, tiles * columns, *places']``, over one to three dimensions.

    Attributes:
        stride, padding, dilation: of each dimension, as in :func:`torch.nn.functional.conv2d`.
        tiles: number of groups, each with its own channels and columns.
    """

    stride: Shape
    padding: Shape
    dilation: Shape
    tiles: int

    def places(self, places: Shape, kernel: Shape) -> Shape:
        """Number of positions of the output in each dimension."""
        return tuple(
            (size + 2 * pad - dilation * (length - 1) - 1) // stride + 1
            for size, pad, dilation, length, stride in zip(
                places, self.padding, self.dilation, kernel, self.stride, strict=True
            )
        )

    def reads_bytes(self, x_shape: Shape, kernels_shape: Shape, multiply: Product) -> bool:
        """Whether :meth:`product` and :meth:`kernels_grad` read images of one byte each, without a
        copy in another dtype."""
        return multiply.split and _images(self, x_shape, kernels_shape) is not None

    def product(
        self, x: Tensor, kernels: Tensor, multiply: Product, squared: bool = False
    ) -> Tensor:
        """The outputs for images ``x``, or for their squares. Images of one byte are computed in
        the dtype of the kernels, and their squares in bfloat16."""
        images, dtype = None, torch.float32
        if squared and x.dtype in _BYTES:
            dtype = torch.bfloat16  # the squares of images are rounded, too
            kernels = as_dtype(kernels, dtype)
        if multiply.split and _are_read(x, kernels, dtype, squared):
            images = _images(self, x.shape, kernels.shape)
        if images is None:
            x = as_dtype(x, kernels.dtype)
            z: Tensor = _CONVOLUTIONS[kernels.dim() - 2](
                x.square() if squared else x,
                kernels,
                None,
                self.stride,
                self.padding,
                self.dilation,
                self.tiles,
            )
            return z
        places = images[-2:] if x.dim() == 4 else images[-1:]
        z = _new((x.shape[0], kernels.shape[0], *places), multiply.slot)
        cpu.convolve(x, kernels, z, images, squared)
        return z

    def input_grad(self, dz: Tensor, kernels: Tensor, x_shape: Shape, multiply: Product) -> Tensor:
        """The gradient of images of ``x_shape``, for the gradient ``dz`` of the outputs."""
        images = None
        if multiply.split and _are_read(dz, kernels):
            images = _images_back(self, x_shape, kernels.shape)
        if images is None:
            # Values of the images are not read; torch would copy an expanded number.
            dx, _ = self._backward(dz, dz.new_empty(x_shape), kernels, (True, False))
            return dx
        dx = _new(x_shape, multiply.slot)
        cpu.convolve(dz, kernels, dx, images, transposed=True)
        return dx

    def kernels_grad(self, dz: Tensor, x: Tensor, shape: Shape, multiply: Product) -> Tensor:
        """The gradient of kernels of ``shape``, for the gradient ``dz`` of the outputs."""
        images = None
        if multiply.split and _are_read(x, dz):
            images = _images(self, x.shape, shape)
        if images is None or not _sums_fit(images):
            x = as_dtype(x, dz.dtype)
            _, dw = self._backward(dz, x, dz.new_empty(shape), (False, True))
            return dw
        dw = _new(shape, multiply.slot)
        cpu.correlate(x, dz, dw, images)
        return dw

    def _backward(
        self, dz: Tensor, x: Tensor, kernels: Tensor, needed: tuple[bool, bool]
    ) -> tuple[Tensor, Tensor]:
        dx, dw, _ = torch.ops.aten.convolution_backward(
            *(dz, x, kernels, None, self.stride, self.padding, self.dilation),
            *(False, [0] * len(self.stride), self.tiles, [*needed, False]),
        )
        return dx, dw


def _are_read(
    images: Tensor, others: Tensor, dtype: torch.dtype = torch.float32, squared: bool = False
) -> bool:
    if others.dtype is not dtype or images.dtype not in (torch.float32, *_BYTES):
        return False
    if squared and images.dtype not in _BYTES:
        return False
    whole = images.dtype in _BYTES and not squared
    return (
        can_split(images, others, whole=whole) and images.is_contiguous() and others.is_contiguous()
    )


def _sums_fit(images: Images) -> bool:
    weights = images.columns * images.channels * images.kernel_height * images.kernel_width
    unit = cpu.unit_for(whole=True)
    return (
        unit is not None and images.channels >= _FEWEST_CHANNELS[unit] and weights <= _MOST_WEIGHTS
    )


def _new(shape: Shape, slot: str | None) -> Tensor:
    dtype = torch.float32
    return torch.empty(shape, dtype=dtype) if slot is None else scratch(slot, shape, dtype)


@lru_cache(maxsize=1024)
def _images(convolution: Convolution, x_shape: Shape, kernels_shape: Shape) -> Images | None:
    """The sizes for the unit; None if torch computes this convolution."""
    unit = cpu.unit_for(whole=True)
    if unit is None:
        return None
    batch, _, *places = x_shape
    columns, channels, *kernel = kernels_shape
    stride, padding, dilation, tiles = convolution
    if len(kernel) > 2 or set(dilation) != {1}:
        return None
    columns //= tiles
    out_places = convolution.places(tuple(places), tuple(kernel))
    products = batch * tiles * columns * channels * math.prod(kernel) * math.prod(out_places)
    if products < _FEWEST_PRODUCTS or _use(columns, channels, *kernel) < _LEAST_USE[unit]:
        return None
    pairs, width = math.ceil(channels / 2), 16 * math.ceil(out_places[-1] / 16)
    if 8 * math.prod(kernel) * pairs * width > _MOST_BYTES:
        return None
    # A sequence is an image of one row.
    flat = (1,) * (2 - len(kernel))
    sizes = (*flat, *places, *flat, *kernel, *flat, *stride, *(0 for _ in flat), *padding)
    return Images(batch, tiles, channels, columns, *sizes, *flat, *out_places)


def _use(columns: int, channels: int, *kernel: int) -> float:
    """The share of the unit that computes: it sums over pairs of channels and rows of the kernel,
    one column of the kernel after the other."""
    *rows, places = kernel
    steps = math.ceil(math.prod(rows) * math.ceil(channels / 2) / 16)
    blocks = math.ceil(columns / 16)
    return columns * channels * math.prod(kernel) / (16 * blocks * 32 * steps * places)


@lru_cache(maxsize=1024)
def _images_back(convolution: Convolution, x_shape: Shape, kernels_shape: Shape) -> Images | None:
    """The same for the transposed convolution, of the outputs with the kernels upside down."""
    batch, _, *places = x_shape
    columns, channels, *kernel = kernels_shape
    stride, padding, dilation, tiles = convolution
    if set(stride) != {1} or any(p >= k for p, k in zip(padding, kernel, strict=True)):
        return None
    padding = tuple(k - 1 - p for p, k in zip(padding, kernel, strict=True))
    out_places = convolution.places(tuple(places), tuple(kernel))
    back = Convolution(stride, padding, dilation, tiles)
    outputs = (batch, columns, *out_places)
    return _images(back, outputs, (tiles * channels, columns // tiles, *kernel))
