"""Layout of a layer's weights on tiles, and the products per tile.

All layers share one shape of cells: ``[tiles, columns, rows]``. A tiling converts a layer's weight
to that shape and back, multiplies an input with it tile by tile, and computes the two transposed
products that backward rules need. Convolutions are multiplied as convolutions, with
one group per tile: the unfolded input is never built.

Rows are distributed evenly: 784 inputs on tiles of 512 rows take two tiles of 392; or tile after
tile is filled, and the last has 272 rows and idle rows, with zero weight and no input. Tiles side
by side are no dimension here, because every column is multiplied for itself; references, wires,
faults, variation, ADCs and what the columns of a tile share divide the columns themselves.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from cimsim.dtypes import as_dtype
from cimsim.errors import CimsimError
from cimsim.kernels.convolutions import Convolution
from cimsim.kernels.products import Product, can_split
from cimsim.kernels.types import Lines

_PRODUCT = Product()
_IN_ITS_DTYPE = Product(wide=False)


class Tiling(ABC):
    """The contract between a kind of layer and the array.

    ``vector_dim`` and ``column_dim`` are the dimensions of the input vectors (or images) and of the
    columns in ``z``, the currents. There is one column per column of cells, which may be several
    for each output. ``groups`` is the number of groups of outputs that have tiles of their own.
    """

    vector_dim: int
    column_dim: int
    groups: int
    tiles: int
    rows: int

    @abstractmethod
    def to_cells(self, weight: Tensor) -> Tensor:
        """The layer's weight as ``[tiles, columns, rows]``; unused rows are zero."""

    @abstractmethod
    def from_cells(self, cells: Tensor) -> Tensor:
        """Inverse of :meth:`to_cells`: back to the weight's shape."""

    @abstractmethod
    def product(self, x: Tensor, cells: Tensor, multiply: Product = _PRODUCT) -> Tensor:
        """Currents ``z`` of every column of every tile, in this tiling's own shape."""

    def product_of_squares(
        self, codes: Tensor, cells: Tensor, multiply: Product = _PRODUCT
    ) -> Tensor:
        """:meth:`product` of the squares of ``codes``, for an input that :meth:`reads_bytes`."""
        return self.product(as_dtype(codes, cells.dtype).square(), cells, multiply)

    def reads_bytes(self, x: Tensor, columns: int, multiply: Product) -> bool:
        """Whether products of an input like ``x``, and :meth:`cells_grad`, read codes of one byte
        each; otherwise the codes are in the dtype of the other factor."""
        return False

    @abstractmethod
    def input_grad(
        self, dz: Tensor, cells: Tensor, x_shape: torch.Size, multiply: Product = _IN_ITS_DTYPE
    ) -> Tensor:
        """Transposed product: the gradient ``dz`` at the columns as a gradient at the input."""

    @abstractmethod
    def cells_grad(self, dz: Tensor, x: Tensor, multiply: Product = _PRODUCT) -> Tensor:
        """Outer product of ``dz`` and input, summed over vectors: ``[tiles, columns, rows]``."""

    @abstractmethod
    def per_column(self, values: Tensor) -> Tensor:
        """``values [tiles, columns]`` in a shape that broadcasts against ``z``."""

    @abstractmethod
    def row_inputs(self, x: Tensor) -> Tensor:
        """The inputs of the rows, ``[tiles, vectors, rows]``: unfolded if the layer is a
        convolution, so only for currents that are not a product."""

    @abstractmethod
    def by_column(self, z: Tensor) -> Tensor:
        """``z`` as ``[tiles, columns, vectors]``, vectors in the order of :meth:`row_inputs`."""

    @abstractmethod
    def from_columns(self, currents: Tensor, x_shape: torch.Size) -> Tensor:
        """Inverse of :meth:`by_column` for an input of ``x_shape``."""

    @abstractmethod
    def accumulate(self, z: Tensor) -> Tensor:
        """Digital sum over the tiles that share an output: the layer's output shape."""

    @abstractmethod
    def scatter(self, dy: Tensor) -> Tensor:
        """Transpose of :meth:`accumulate`: the output's gradient at every tile (a view)."""

    @abstractmethod
    def lines(self, z_shape: tuple[int, ...]) -> Lines:
        """Memory layout of ``z`` of that shape."""

    @abstractmethod
    def output_shape_of(self, x_shape: tuple[int, ...], outputs: int) -> tuple[int, ...]:
        """Shape of the layer's output for an input of ``x_shape`` in the shape of a product."""

    @abstractmethod
    def output_shape(self, z_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the layer's output for ``z`` of that shape, without slices or reference."""

    @abstractmethod
    def currents_shape(self, y_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Inverse of :meth:`output_shape`."""


class Layout(NamedTuple):
    """Shapes of one product.

    Attributes:
        y_shape: of the layer's output.
        z_shape: of the currents.
        lines: memory layout of the currents.
        products: number of multiplications.
    """

    y_shape: tuple[int, ...]
    z_shape: tuple[int, ...]
    lines: Lines
    products: int


@lru_cache(maxsize=1024)
def layout(tiling: Tiling, x_shape: tuple[int, ...], columns: int) -> Layout:
    """The :class:`Layout` for an input of ``x_shape`` and tiles of ``columns`` columns, one for
    each output."""
    y_shape = tiling.output_shape_of(x_shape, tiling.groups * columns)
    z_shape = tiling.currents_shape(y_shape)
    return Layout(y_shape, z_shape, tiling.lines(z_shape), math.prod(z_shape) * tiling.rows)


def _split(rows: int, limit: int, even: bool) -> tuple[int, int]:
    """Number of tiles, and of rows on each."""
    tiles = math.ceil(rows / limit)
    return tiles, math.ceil(rows / tiles) if even or tiles == 1 else limit


class LinearTiling(Tiling):
    """``x [vectors, in]``, ``weight [out, in]``, ``z [tiles, vectors, out]``."""

    vector_dim = 1
    column_dim = 2
    groups = 1

    def __init__(self, in_features: int, max_rows: int, even: bool = True) -> None:
        self.in_features = in_features
        self.tiles, self.rows = _split(in_features, max_rows, even)
        self._missing = self.tiles * self.rows - in_features

    def _on_tiles(self, t: Tensor) -> Tensor:
        """``t [n, in]`` as ``[tiles, n, rows]``."""
        if self.tiles == 1:
            return t.unsqueeze(0)
        padded = F.pad(t, (0, self._missing)) if self._missing else t
        return padded.view(t.shape[0], self.tiles, self.rows).transpose(0, 1)

    def _from_tiles(self, t: Tensor) -> Tensor:
        """Inverse of :meth:`_on_tiles`."""
        if self.tiles == 1:
            return t.squeeze(0)
        joined = t.transpose(0, 1).reshape(t.shape[1], -1)
        return joined[:, : self.in_features] if self._missing else joined

    def to_cells(self, weight: Tensor) -> Tensor:
        return self._on_tiles(weight)

    def from_cells(self, cells: Tensor) -> Tensor:
        return self._from_tiles(cells)

    def product(self, x: Tensor, cells: Tensor, multiply: Product = _PRODUCT) -> Tensor:
        return multiply(self._on_tiles(x), cells.transpose(1, 2))

    def input_grad(
        self, dz: Tensor, cells: Tensor, x_shape: torch.Size, multiply: Product = _IN_ITS_DTYPE
    ) -> Tensor:
        return self._from_tiles(multiply(dz, cells))

    def cells_grad(self, dz: Tensor, x: Tensor, multiply: Product = _PRODUCT) -> Tensor:
        return multiply(dz.transpose(1, 2), self._on_tiles(x))

    def per_column(self, values: Tensor) -> Tensor:
        return values.unsqueeze(1)

    def row_inputs(self, x: Tensor) -> Tensor:
        return self._on_tiles(x)

    def by_column(self, z: Tensor) -> Tensor:
        return z.transpose(1, 2)

    def from_columns(self, currents: Tensor, x_shape: torch.Size) -> Tensor:
        return currents.transpose(1, 2)

    def accumulate(self, z: Tensor) -> Tensor:
        return z[0] if self.tiles == 1 else z.sum(0)

    def scatter(self, dy: Tensor) -> Tensor:
        return dy.expand(self.tiles, *dy.shape)

    def lines(self, z_shape: tuple[int, ...]) -> Lines:
        tiles, vectors, columns = z_shape
        return Lines(1, 1, tiles, vectors, columns, of_columns=True)

    def output_shape_of(self, x_shape: tuple[int, ...], outputs: int) -> tuple[int, ...]:
        return x_shape[0], outputs

    def output_shape(self, z_shape: tuple[int, ...]) -> tuple[int, ...]:
        return z_shape[1:]

    def currents_shape(self, y_shape: tuple[int, ...]) -> tuple[int, ...]:
        return self.tiles, *y_shape


@dataclass(frozen=True)
class ConvGeometry:
    """Channels, kernel, stride, zero padding, dilation and groups of a convolution over any number
    of dimensions."""

    in_channels: int
    out_channels: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int

    @property
    def dimensions(self) -> int:
        """1 for a sequence, 2 for an image, 3 for a volume."""
        return len(self.kernel)


class ConvTiling(Tiling):
    """``x [batch, in, *places]``, ``weight [out, in/groups, *kernel]``.

    A tile contains whole input channels (with one row per entry of the kernel); each group of the
    layer has its own tiles. Cells are ``[groups * split, out/groups, channels * kernel]``
    and ``z [batch, groups, split, out/groups, *places']``: one grouped convolution does all tiles.

    Raises:
        CimsimError: if one channel's kernel needs more rows than a tile has.
    """

    vector_dim = 0
    column_dim = 3

    def __init__(self, geometry: ConvGeometry, max_rows: int, even: bool = True) -> None:
        self.geometry = g = geometry
        self.groups = g.groups
        kernel_rows = math.prod(g.kernel)
        if kernel_rows > max_rows:
            raise CimsimError(
                f"a {'x'.join(map(str, g.kernel))} kernel needs {kernel_rows} rows for one input "
                f"channel, but a tile has {max_rows}; use a profile with array.rows of at least "
                f"{kernel_rows}, or keep this layer digital"
            )
        self.group_channels = g.in_channels // g.groups
        most_channels = max_rows // kernel_rows
        self.split, self.channels = _split(self.group_channels, most_channels, even)
        self.tiles = g.groups * self.split
        self.rows = self.channels * kernel_rows
        self._convolution = Convolution(g.stride, g.padding, g.dilation, self.tiles)

    def _pad_channels(self, x: Tensor) -> Tensor:
        if not self._missing:
            return x
        grouped: Tensor = x.unflatten(1, (self.geometry.groups, self.group_channels))
        return self._more_channels(grouped).flatten(1, 2)

    @property
    def _missing(self) -> int:
        """Unused channels of the tiles of a group."""
        return self.split * self.channels - self.group_channels

    def _more_channels(self, t: Tensor) -> Tensor:
        """``t [..., channels, *places]`` with zeros in the unused channels."""
        return F.pad(t, (0, 0) * self.geometry.dimensions + (0, self._missing))

    def _kernels(self, cells: Tensor) -> Tensor:
        return cells.reshape(-1, self.channels, *self.geometry.kernel)

    def to_cells(self, weight: Tensor) -> Tensor:
        g = self.geometry
        padded = self._more_channels(weight) if self._missing else weight
        split = padded.reshape(g.groups, g.out_channels // g.groups, self.split, self.rows)
        return split.transpose(1, 2).reshape(self.tiles, g.out_channels // g.groups, self.rows)

    def from_cells(self, cells: Tensor) -> Tensor:
        g = self.geometry
        split = cells.view(g.groups, self.split, g.out_channels // g.groups, self.rows)
        merged = split.transpose(1, 2).reshape(
            g.out_channels, self.split * self.channels, *g.kernel
        )
        return merged[:, : self.group_channels]

    def product(self, x: Tensor, cells: Tensor, multiply: Product = _PRODUCT) -> Tensor:
        return self._product(x, cells, multiply)

    def product_of_squares(
        self, codes: Tensor, cells: Tensor, multiply: Product = _PRODUCT
    ) -> Tensor:
        return self._product(codes, cells, multiply, squared=True)

    def _product(
        self, x: Tensor, cells: Tensor, multiply: Product, squared: bool = False
    ) -> Tensor:
        padded, kernels = self._pad_channels(x), self._kernels(cells)
        z = self._convolution.product(padded, kernels, multiply, squared)
        tiles: Tensor = z.unflatten(1, (self.geometry.groups, self.split, -1))
        return tiles

    def reads_bytes(self, x: Tensor, columns: int, multiply: Product) -> bool:
        padded = (x.shape[0], self.tiles * self.channels, *x.shape[2:])
        kernels = (self.tiles * columns, self.channels, *self.geometry.kernel)
        return can_split(x, whole=True) and self._convolution.reads_bytes(padded, kernels, multiply)

    def input_grad(
        self, dz: Tensor, cells: Tensor, x_shape: torch.Size, multiply: Product = _IN_ITS_DTYPE
    ) -> Tensor:
        padded = (x_shape[0], self.tiles * self.channels, *x_shape[2:])
        kernels = self._kernels(cells)
        dx = self._convolution.input_grad(dz.flatten(1, 3), kernels, padded, multiply)
        if not self._missing:
            return dx
        grouped: Tensor = dx.unflatten(1, (self.geometry.groups, -1))
        return grouped[:, :, : self.group_channels].flatten(1, 2)

    def cells_grad(self, dz: Tensor, x: Tensor, multiply: Product = _PRODUCT) -> Tensor:
        columns = dz.shape[self.column_dim]
        kernels = (self.tiles * columns, self.channels, *self.geometry.kernel)
        dw = self._convolution.kernels_grad(
            dz.flatten(1, 3), self._pad_channels(x), kernels, multiply
        )
        return dw.reshape(self.tiles, columns, self.rows)

    def per_column(self, values: Tensor) -> Tensor:
        g = self.geometry
        return values.view(g.groups, self.split, -1, *[1] * g.dimensions)

    def row_inputs(self, x: Tensor) -> Tensor:
        g = self.geometry
        borders = [side for pad in reversed(g.padding) for side in (pad, pad)]
        unfolded = F.pad(self._pad_channels(x), borders)
        for at, (kernel, stride, dilation) in enumerate(
            zip(g.kernel, g.stride, g.dilation, strict=True)
        ):
            unfolded = unfolded.unfold(2 + at, dilation * (kernel - 1) + 1, stride)[..., ::dilation]
        # [batch, channels of all tiles, *places', *kernel]
        by_tile: Tensor = unfolded.unflatten(1, (self.tiles, self.channels)).movedim(1, 0)
        places = range(3, 3 + g.dimensions)
        ordered = by_tile.permute(0, 1, *places, 2, *range(3 + g.dimensions, by_tile.dim()))
        return ordered.reshape(self.tiles, -1, self.rows)

    def by_column(self, z: Tensor) -> Tensor:
        return z.movedim(0, 3).reshape(self.tiles, z.shape[self.column_dim], -1)

    def from_columns(self, currents: Tensor, x_shape: torch.Size) -> Tensor:
        g = self.geometry
        places = self._places(x_shape)
        z = currents.reshape(g.groups, self.split, currents.shape[1], x_shape[0], *places)
        return z.movedim(3, 0)

    def accumulate(self, z: Tensor) -> Tensor:
        summed = z.squeeze(2) if self.split == 1 else z.sum(2)
        return summed.flatten(1, 2)

    def scatter(self, dy: Tensor) -> Tensor:
        grouped: Tensor = dy.unflatten(1, (self.geometry.groups, -1)).unsqueeze(2)
        return grouped.expand(-1, -1, self.split, *[-1] * (1 + self.geometry.dimensions))

    def lines(self, z_shape: tuple[int, ...]) -> Lines:
        batch, groups, split, columns, *places = z_shape
        return Lines(batch * groups, groups, split, columns, math.prod(places), of_columns=False)

    def output_shape_of(self, x_shape: tuple[int, ...], outputs: int) -> tuple[int, ...]:
        return x_shape[0], outputs, *self._places(x_shape)

    def _places(self, x_shape: tuple[int, ...]) -> tuple[int, ...]:
        return self._convolution.places(x_shape[2:], self.geometry.kernel)

    def output_shape(self, z_shape: tuple[int, ...]) -> tuple[int, ...]:
        batch, groups, _, columns, *places = z_shape
        return batch, groups * columns, *places

    def currents_shape(self, y_shape: tuple[int, ...]) -> tuple[int, ...]:
        batch, outputs, *places = y_shape
        groups = self.geometry.groups
        return batch, groups, self.split, outputs // groups, *places
