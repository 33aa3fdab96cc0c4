"""Groups of columns that share the full scale of their ADCs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_AXES = {"layer": (), "slice": (1,), "tile": (0,), "column": (0, 1, 2)}


@dataclass(frozen=True)
class RangeGroups:
    """Grouping of the columns of a layer by full scale: one ``per`` layer, slice, tile or column.

    The rows of a layer take ``tiles`` times ``slices * columns`` columns, and these take one or
    several physical tiles side by side, each with ``tile_columns`` of them; the last may have
    fewer.
    """

    per: str
    tiles: int
    slices: int
    columns: int
    tile_columns: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the full scales.

        ``()``, ``[slices]`` (``()`` for one slice), ``[physical tiles]``, or ``[tiles, slices *
        columns]``.
        """
        if self.per == "column":
            return self.tiles, self.slices * self.columns
        if self.per == "tile":
            return (self.tiles * self.abreast,)
        if self.per == "slice" and self.slices == 1:
            return ()
        return tuple(self._sizes[axis] for axis in self._axes)

    @property
    def abreast(self) -> int:
        """Number of physical tiles side by side."""
        return -(-self.slices * self.columns // self.tile_columns)

    @property
    def count(self) -> int:
        """Number of full scales."""
        return math.prod(self.shape)

    def of_columns(self, full_scales: Tensor) -> Tensor:
        """Expand full scales of :attr:`shape`, or a scalar, to ``[tiles, slices * columns]``."""
        if full_scales.dim() == 0:
            return full_scales.expand(self.tiles, self.slices * self.columns)
        if self.per == "tile" and self.abreast > 1:
            tile = torch.arange(self.slices * self.columns, device=full_scales.device)
            return full_scales.view(self.tiles, -1)[:, tile // self.tile_columns]
        kept = [n if axis in self._axes else 1 for axis, n in enumerate(self._sizes)]
        return full_scales.reshape(kept).expand(self._sizes).flatten(1)

    def gathered(self, by_column: Tensor, used: Tensor | None = None) -> Tensor:
        """Rearrange ``[tiles, slices * columns, vectors]`` to ``[count, values]``.

        ``used`` marks the columns that are converted, ``[tiles, slices * columns]``, as many in
        each tile; the others are left out, except from groups of one column. Groups with fewer
        columns than others repeat their values.
        """
        if self.per == "tile" and self.abreast > 1:
            return self._by_physical_tile(by_column, used)
        columns = self.columns
        if used is not None and self.per != "column":
            by_column = by_column[used].view(self.tiles, -1, by_column.shape[-1])
            columns = by_column.shape[1] // self.slices
        parts: Tensor = by_column.unflatten(1, (self.slices, columns))
        front = parts.movedim(self._axes, tuple(range(len(self._axes))))
        return front.reshape(self.count, -1)

    def summed(self, by_column: Tensor) -> Tensor:
        """Sum ``[tiles, slices * columns, vectors]`` over each group, ``[count]``."""
        if self.per == "tile" and self.abreast > 1:
            of_columns = by_column.sum(-1).split(self.tile_columns, dim=1)
            return torch.stack([part.sum(1) for part in of_columns], dim=1).flatten()
        return self.gathered(by_column).sum(1)

    def _by_physical_tile(self, by_column: Tensor, used: Tensor | None) -> Tensor:
        if used is None:
            used = torch.ones(by_column.shape[:2], dtype=torch.bool, device=by_column.device)
        groups = [
            # Ordered by vector, so that repeated values come from all columns.
            part[kept].T.flatten()
            for tile, of_tile in zip(by_column, used, strict=True)
            for part, kept in zip(
                tile.split(self.tile_columns), of_tile.split(self.tile_columns), strict=True
            )
        ]
        most = max(len(group) for group in groups)
        filled = [group if len(group) else by_column.new_zeros(1) for group in groups]
        return torch.stack([g.repeat(-(-most // len(g)))[:most] for g in filled])

    @property
    def _sizes(self) -> tuple[int, int, int]:
        return self.tiles, self.slices, self.columns

    @property
    def _axes(self) -> tuple[int, ...]:
        return _AXES[self.per]
