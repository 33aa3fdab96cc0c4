"""Drift: how a cell's conductance moves while it waits.

Every handler is defined for each age ``t >= 0`` and leaves the conductance exactly as programmed
where its strength is zero. What is drawn here is static: one draw per cell and chip, so that one
chip looked at twice is the same chip grown older.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from functools import singledispatch

import torch
from torch import Tensor

from cimsim.devices.programming import polynomial
from cimsim.profile import ClippedLog, PowerLawDrift, TabulatedSpread

_R_FLOOR = 1e-7


def _clipped_log(law: ClippedLog, r: Tensor) -> Tensor:
    return (law.slope * torch.log(r) + law.intercept).clamp(law.min, law.max)


def drift_exponent(effect: PowerLawDrift, g_target_uS: Tensor, xi: Tensor) -> Tensor:
    """``nu = strength |mu(r) + spread_strength s(r) xi|``, elementwise, dimensionless."""
    r = (g_target_uS / effect.g_ref_uS).clamp_min(_R_FLOOR)
    spread = effect.spread_strength * _clipped_log(effect.nu_std, r)
    return effect.strength * (_clipped_log(effect.nu_mean, r) + spread * xi).abs()


def spread_sigma_uS(effect: TabulatedSpread, g_target_uS: Tensor, age_s: float) -> Tensor:
    """The tabulated spread in µS at ``age_s``: linear in ln t, constant outside the table."""
    r = g_target_uS / effect.g_ref_uS
    times = effect.times_s
    tables = [polynomial(tuple(row), r).clamp_min(0.0) for row in effect.sigma_uS]
    after = bisect_right(times, age_s)
    if after == 0:
        sigma = tables[0]
    elif after == len(times):
        sigma = tables[-1]
    else:
        t0, t1 = times[after - 1], times[after]
        sigma = torch.lerp(
            tables[after - 1], tables[after], math.log(age_s / t0) / math.log(t1 / t0)
        )
    return effect.strength * sigma


@singledispatch
def drifted_uS(
    effect: object,
    g_uS: Tensor,
    g_target_uS: Tensor,
    age_s: float,
    generator: torch.Generator,
) -> Tensor:
    """Conductance in µS at ``age_s`` seconds after programming; all tensors of one shape."""
    raise NotImplementedError(f"no physics for drift {type(effect).__name__}")


@drifted_uS.register
def _(
    effect: PowerLawDrift,
    g_uS: Tensor,
    g_target_uS: Tensor,
    age_s: float,
    generator: torch.Generator,
) -> Tensor:
    if effect.strength == 0 or age_s == 0:
        return g_uS
    xi = torch.empty_like(g_target_uS).normal_(generator=generator)
    nu = drift_exponent(effect, g_target_uS, xi)
    return g_uS * torch.exp(nu * -math.log1p(age_s / effect.t0_s))


@drifted_uS.register
def _(
    effect: TabulatedSpread,
    g_uS: Tensor,
    g_target_uS: Tensor,
    age_s: float,
    generator: torch.Generator,
) -> Tensor:
    if effect.strength == 0:
        return g_uS
    xi = torch.empty_like(g_target_uS).normal_(generator=generator)
    return g_uS + spread_sigma_uS(effect, g_target_uS, age_s) * xi
