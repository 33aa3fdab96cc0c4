"""Read noise: what changes each time a cell is read."""

from __future__ import annotations

import math
from functools import singledispatch

from torch import Tensor

from cimsim.profile import Cell, GaussianReadNoise, OneOverFReadNoise

_R_FLOOR = 1e-7


@singledispatch
def read_sigma_uS(
    effect: object, g_uS: Tensor, g_target_uS: Tensor, cell: Cell, age_s: float
) -> Tensor:
    """Standard deviation in µS of one read of cells at ``g_uS``, ``age_s`` after programming."""
    raise NotImplementedError(f"no physics for read noise {type(effect).__name__}")


@read_sigma_uS.register
def _(
    effect: OneOverFReadNoise, g_uS: Tensor, g_target_uS: Tensor, cell: Cell, age_s: float
) -> Tensor:
    r = (g_target_uS / effect.g_ref_uS).clamp_min(_R_FLOOR)
    q = (effect.q.coefficient * r.pow(effect.q.exponent)).clamp_max(effect.q.max)
    t_read_s = effect.t_read_ns * 1e-9
    growth = math.sqrt(math.log((age_s + effect.t0_s + t_read_s) / (2 * t_read_s)))
    return effect.strength * growth * q * g_uS


@read_sigma_uS.register
def _(
    effect: GaussianReadNoise, g_uS: Tensor, g_target_uS: Tensor, cell: Cell, age_s: float
) -> Tensor:
    sigma_uS = effect.strength * effect.sigma_of_g_max * cell.g_max_uS
    return g_uS.new_full((), sigma_uS).expand_as(g_uS)
