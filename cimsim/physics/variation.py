"""Spatial variation: errors shared by neighboring cells or by the cells of a tile."""

from __future__ import annotations

import math
from functools import singledispatch

import torch
from torch import Tensor

from cimsim.physics.draws import sum_of_normals
from cimsim.physics.sessions import Part
from cimsim.physics.writing import written_parts
from cimsim.profile import ArraySpec, CellSpec, CorrelatedVariation, TileVariation

_JITTER = 1e-9  # added to the unit diagonal, because a smooth kernel is nearly singular


def varied_uS(g_uS: Tensor, cell: CellSpec, array: ArraySpec, seed: int, cycle: int = 0) -> Tensor:
    """Apply all variations in order to ``g_uS [devices, tiles, columns, rows]``, in µS.

    Physical tiles have ``array.columns`` columns each, the references among them. Differentiable in
    ``g_uS`` at fixed draws; ``seed`` identifies the chip and ``cycle`` its write cycle.
    """
    active = [(i, effect) for i, effect in enumerate(cell.variation) if effect.strength]
    if not active:
        return g_uS
    varied = g_uS
    for index, effect in active:
        parts = written_parts(seed, cycle, effect.device_share, "variation", index)
        varied = _varied_uS(effect, varied, cell, array, parts)
    return varied.clamp(*cell.bounds_uS)


@singledispatch
def variation_sigma_uS(effect: object, g_uS: Tensor, cell: CellSpec) -> Tensor:
    """Return the standard deviation in µS over all cells of all chips, in the shape of ``g_uS``."""
    raise NotImplementedError(f"no physics for variation {type(effect).__name__}")


@variation_sigma_uS.register
def _(effect: CorrelatedVariation, g_uS: Tensor, cell: CellSpec) -> Tensor:
    return effect.strength * effect.sigma_of_g * g_uS


@variation_sigma_uS.register
def _(effect: TileVariation, g_uS: Tensor, cell: CellSpec) -> Tensor:
    offset_uS = effect.sigma_offset_of_g_max * cell.g_max_uS
    return effect.strength * ((effect.sigma_gain * g_uS).square() + offset_uS**2).sqrt()


@singledispatch
def _varied_uS(
    effect: object, g_uS: Tensor, cell: CellSpec, array: ArraySpec, parts: tuple[Part, ...]
) -> Tensor:
    raise NotImplementedError(f"no physics for variation {type(effect).__name__}")


@_varied_uS.register
def _(
    effect: CorrelatedVariation,
    g_uS: Tensor,
    cell: CellSpec,
    array: ArraySpec,
    parts: tuple[Part, ...],
) -> Tensor:
    like = g_uS[:1] if effect.pair == "adjacent" else g_uS
    white = sum_of_normals(like, parts)
    # White noise multiplied by the roots of both kernels; narrow tiles use a leading block.
    columns, rows = white.shape[-2:]
    along_row = _root(effect.kernel, effect.length_in_columns, min(columns, array.columns), white)
    along_column = _root(effect.kernel, effect.length_in_rows, rows, white)
    blocks = [
        along_row[: block.shape[-2], : block.shape[-2]] @ block
        for block in white.split(array.columns, dim=-2)
    ]
    field = torch.cat(blocks, dim=-2) @ along_column.T
    varied: Tensor = g_uS * (1.0 + effect.strength * effect.sigma_of_g * field)
    return varied


@_varied_uS.register
def _(
    effect: TileVariation, g_uS: Tensor, cell: CellSpec, array: ArraySpec, parts: tuple[Part, ...]
) -> Tensor:
    devices, tiles, columns, _ = g_uS.shape
    blocks = -(-columns // array.columns)
    crossbars = 1 if effect.pair == "adjacent" else devices
    of_tile = torch.arange(columns, device=g_uS.device) // array.columns
    drawn = sum_of_normals(g_uS.new_empty(2, crossbars, tiles, blocks), parts)
    a, b = drawn[..., of_tile].unsqueeze(-1)
    offset_uS = effect.strength * effect.sigma_offset_of_g_max * cell.g_max_uS
    varied: Tensor = g_uS * (1.0 + effect.strength * effect.sigma_gain * a) + offset_uS * b
    return varied


def _root(kernel: str, length: float, count: int, like: Tensor) -> Tensor:
    """Return the lower triangular root of the correlation of ``count`` cells in a line.

    The result has the dtype and device of ``like``.
    """
    place = torch.arange(count, dtype=torch.float64, device=like.device)
    apart = (place.unsqueeze(1) - place) / length
    if kernel == "exponential":  # an autoregression, with a closed form of the root
        root = torch.exp(-apart.clamp_min(0.0)).tril()
        root[:, 1:] *= math.sqrt(-math.expm1(-2.0 / length))
    else:
        correlation = torch.exp(-apart.square())
        correlation.diagonal().add_(_JITTER)
        root = torch.linalg.cholesky(correlation)
    return root.to(like.dtype)
