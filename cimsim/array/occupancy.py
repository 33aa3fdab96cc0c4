"""Hardware that a layer occupies."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from cimsim.array.circuit import Circuit
from cimsim.array.spare_columns import shape_with_spares


@dataclass(frozen=True)
class Occupancy:
    """Physical tiles of a layer, the cells with its weights, and all cells of those tiles."""

    tiles: int
    used_cells: int
    cells: int

    @property
    def utilization(self) -> float:
        """Share of the tiles' cells that contain weights."""
        return self.used_cells / self.cells


def occupancy(array: Circuit, weight_shape: tuple[int, ...]) -> Occupancy:
    """Occupancy of ``array`` by a weight of ``weight_shape``, as a matrix.

    A tile has ``array.rows`` rows and ``array.columns`` columns of one or (in a pair) two cells;
    slices are columns of their own, and so are spare columns and the reference, where a tile has
    one. Cells of spare columns count as free.

    >>> from cimsim.array import Array, LinearTiling
    >>> from cimsim.profile import load_profile
    >>> pcm = load_profile("pcm-ibm-2020")  # pairs, tiles of 512 x 512
    >>> occupancy(Array(pcm, LinearTiling(784, pcm.array.rows)), (256, 784))
    Occupancy(tiles=2, used_cells=401408, cells=1048576)
    """
    mapping, of = array.mapping, array.profile.array
    held = shape_with_spares(weight_shape, array.tiling.groups, of.spare_columns)
    tiles, columns, _ = array.tiling.to_cells(torch.empty(held, device="meta")).shape
    blocks = math.ceil(columns * of.slices / of.weight_columns)
    used = math.prod(weight_shape) * of.slices * mapping.devices
    return Occupancy(tiles * blocks, used, tiles * blocks * of.rows * of.columns * mapping.devices)
