"""Groups of columns that share the full scale of their ADCs."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

_AXES = {"layer": (), "slice": (1,), "tile": (0,), "column": (0, 1, 2)}


@dataclass(frozen=True)
class RangeGroups:
    """Grouping of the physical columns of a layer by full scale.

    There are ``tiles`` tiles of ``slices * columns`` columns, with one full scale ``per`` layer,
    slice, tile or column.
    """

    per: str
    tiles: int
    slices: int
    columns: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the full scales.

        ``()``, ``[slices]`` (``()`` for one slice), ``[tiles]``, or ``[tiles, slices * columns]``.
        """
        if self.per == "column":
            return self.tiles, self.slices * self.columns
        if self.per == "slice" and self.slices == 1:
            return ()
        return tuple(self._sizes[axis] for axis in _AXES[self.per])

    @property
    def count(self) -> int:
        """Number of full scales."""
        return math.prod(self.shape)

    def of_columns(self, full_scales: Tensor) -> Tensor:
        """Expand full scales of :attr:`shape`, or a scalar, to ``[tiles, slices * columns]``."""
        if full_scales.dim() == 0:
            return full_scales.expand(self.tiles, self.slices * self.columns)
        kept = [n if axis in self._axes else 1 for axis, n in enumerate(self._sizes)]
        return full_scales.reshape(kept).expand(self._sizes).flatten(1)

    def gathered(self, by_column: Tensor) -> Tensor:
        """Rearrange ``[tiles, slices * columns, vectors]`` to ``[count, values]``."""
        parts: Tensor = by_column.unflatten(1, (self.slices, self.columns))
        front = parts.movedim(self._axes, tuple(range(len(self._axes))))
        return front.reshape(self.count, -1)

    @property
    def _sizes(self) -> tuple[int, int, int]:
        return self.tiles, self.slices, self.columns

    @property
    def _axes(self) -> tuple[int, ...]:
        return _AXES[self.per]
