"""Drift: changes of a cell's conductance over time.

Every handler is defined for all ages ``t >= 0`` and returns the programmed conductance exactly if
its strength is zero. The draws are static: one per cell and chip, so that evaluating a chip at two
ages gives the same chip, aged.
"""

from __future__ import annotations

import math
from functools import singledispatch

import torch
from torch import Tensor

from cimsim.physics.curves import evaluate
from cimsim.physics.draws import sum_of_normals
from cimsim.physics.sessions import Part
from cimsim.profile import AnyCurve, LogRelaxation, PowerLawDrift, ReadDisturb, TabulatedDrift


def drift_exponent(
    effect: PowerLawDrift, g_target_uS: Tensor, xi: Tensor, temperature_C: float = 25.0
) -> Tensor:
    """Return ``nu = strength T_s / T |mu(r) + spread_strength s(r) xi|``, dimensionless."""
    r = g_target_uS / effect.g_ref_uS
    spread = effect.spread_strength * evaluate(effect.nu_std, r)
    factor = effect.strength * effect.steepness(temperature_C)
    return factor * (evaluate(effect.nu_mean, r) + spread * xi).abs()


@singledispatch
def relaxation_uS(
    effect: object, g_target_uS: Tensor, age_s: float, temperature_C: float = 25.0
) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of the change in µS at ``age_s``, with strengths.

    There is one handler for each kind of additive drift; both tensors have the shape of
    ``g_target_uS``.
    """
    raise NotImplementedError(f"no relaxation in drift {type(effect).__name__}")


@relaxation_uS.register
def _(
    effect: LogRelaxation, g_target_uS: Tensor, age_s: float, temperature_C: float = 25.0
) -> tuple[Tensor, Tensor]:
    age_s = effect.reference_age_s(age_s, temperature_C)
    elapsed = math.log(max(age_s, effect.t0_s) / effect.t0_s)
    shift_uS = effect.strength * effect.shift_uS * elapsed
    spread_uS = max(0.0, effect.sigma0_uS + effect.slope_uS * elapsed)
    sigma_uS = effect.strength * effect.spread_strength * spread_uS
    return torch.full_like(g_target_uS, shift_uS), torch.full_like(g_target_uS, sigma_uS)


@relaxation_uS.register
def _(
    effect: TabulatedDrift, g_target_uS: Tensor, age_s: float, temperature_C: float = 25.0
) -> tuple[Tensor, Tensor]:
    r = g_target_uS / effect.g_ref_uS
    age_s, times_s = effect.reference_age_s(age_s, temperature_C), effect.times_s

    def at(curves: tuple[AnyCurve, ...]) -> Tensor:
        (first, weight), *others = effect.tables_at(temperature_C)
        total = _at_age(curves[first * len(times_s) :][: len(times_s)], times_s, r, age_s)
        if others:
            total = weight * total
        for number, weight in others:
            table = curves[number * len(times_s) :][: len(times_s)]
            total = total + weight * _at_age(table, times_s, r, age_s)
        return total

    sigma = at(effect.sigma_uS).clamp_min(0.0)
    shift = at(effect.shift_uS) if effect.shift_uS else torch.zeros_like(r)
    return effect.strength * shift, effect.strength * effect.spread_strength * sigma


def _at_age(
    curves: tuple[AnyCurve, ...], times_s: tuple[float, ...], r: Tensor, age_s: float
) -> Tensor:
    """Interpolate curves at ``age_s``, linearly in ln t and constant outside the table."""
    after = sum(t <= age_s for t in times_s)
    if after == 0:
        return evaluate(curves[0], r)
    if after == len(times_s):
        return evaluate(curves[-1], r)
    t0, t1 = times_s[after - 1], times_s[after]
    share = math.log(age_s / t0) / math.log(t1 / t0)
    return torch.lerp(evaluate(curves[after - 1], r), evaluate(curves[after], r), share)


@relaxation_uS.register
def _(
    effect: ReadDisturb, g_target_uS: Tensor, age_s: float, temperature_C: float = 25.0
) -> tuple[Tensor, Tensor]:
    r = g_target_uS / effect.g_ref_uS
    done = math.log1p(effect.count(age_s))
    known = [0.0, *map(math.log1p, effect.reads_of_table)]
    after = min(sum(logarithm < done for logarithm in known), len(known) - 1)
    share = min(1.0, (done - known[after - 1]) / (known[after] - known[after - 1])) if after else 0

    def at(curves: tuple[AnyCurve, ...]) -> Tensor:
        if not curves or not after:
            return torch.zeros_like(r)
        up_to = evaluate(curves[after - 1], r)
        if after == 1:  # from zero at N = 0
            return up_to * share
        return torch.lerp(evaluate(curves[after - 2], r), up_to, share)

    sigma = at(effect.sigma_uS).clamp_min(0.0)
    return effect.strength * at(effect.shift_uS), effect.strength * effect.spread_strength * sigma


@singledispatch
def drifted_uS(
    effect: object,
    g_uS: Tensor,
    g_target_uS: Tensor,
    age_s: float,
    parts: tuple[Part, ...],
    temperature_C: float = 25.0,
) -> Tensor:
    """Return the conductance in µS at ``age_s`` seconds; all tensors have the same shape.

    ``temperature_C`` is the operating temperature. ``parts`` are the summands of the random draw,
    equal for all ages.
    """
    raise NotImplementedError(f"no physics for drift {type(effect).__name__}")


@drifted_uS.register
def _(
    effect: PowerLawDrift,
    g_uS: Tensor,
    g_target_uS: Tensor,
    age_s: float,
    parts: tuple[Part, ...],
    temperature_C: float = 25.0,
) -> Tensor:
    if effect.strength == 0 or age_s == 0:
        return g_uS
    nu = drift_exponent(effect, g_target_uS, sum_of_normals(g_target_uS, parts), temperature_C)
    age_s = effect.reference_age_s(age_s, temperature_C)
    return g_uS * torch.exp(nu * -math.log1p(age_s / effect.t0_s))


@drifted_uS.register(LogRelaxation)
@drifted_uS.register(TabulatedDrift)
@drifted_uS.register(ReadDisturb)  # unions only from Python 3.11 on
def _(
    effect: LogRelaxation | TabulatedDrift | ReadDisturb,
    g_uS: Tensor,
    g_target_uS: Tensor,
    age_s: float,
    parts: tuple[Part, ...],
    temperature_C: float = 25.0,
) -> Tensor:
    if effect.strength == 0 or (isinstance(effect, ReadDisturb) and effect.count(age_s) == 0):
        return g_uS
    shift, sigma = relaxation_uS(effect, g_target_uS, age_s, temperature_C)
    return g_uS + shift + sigma * sum_of_normals(g_target_uS, parts)
