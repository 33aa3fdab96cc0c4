"""Programming noise: how far a cell lands from the conductance it was asked for."""

from __future__ import annotations

import math
from functools import singledispatch

import torch
from torch import Tensor

from cimsim.physics.curves import evaluate
from cimsim.physics.draws import uniform
from cimsim.profile import (
    CellSpec,
    GaussianProgrammingNoise,
    RelativeProgrammingNoise,
    StateDependentProgrammingNoise,
)

_NEGLIGIBLE = 1e-12  # a spread over the window that rounding would hide anyway
_LOWEST_LEVEL = 1e-300  # Phi(-37); below, the slope of its inverse is not a finite number
_HIGHEST_LEVEL = 1 - 2**-53  # the largest number below 1


@singledispatch
def programming_sigma_uS(effect: object, g_target_uS: Tensor, cell: CellSpec) -> Tensor:
    """Standard deviation of the programmed conductance in µS; same shape as ``g_target_uS``.

    One handler per kind of the profile's ``cell.programming_noise``; each one's equation stands
    in the docstring of its profile class.
    """
    raise NotImplementedError(f"no physics for programming noise {type(effect).__name__}")


@programming_sigma_uS.register
def _(effect: StateDependentProgrammingNoise, g_target_uS: Tensor, cell: CellSpec) -> Tensor:
    sigma = evaluate(effect.sigma_uS, g_target_uS / effect.g_ref_uS)
    return effect.strength * effect.spread_strength * _widening(cell) * sigma.clamp_min(0.0)


@programming_sigma_uS.register
def _(effect: RelativeProgrammingNoise, g_target_uS: Tensor, cell: CellSpec) -> Tensor:
    return effect.strength * effect.sigma_of_g * _widening(cell) * g_target_uS.abs()


@programming_sigma_uS.register
def _(effect: GaussianProgrammingNoise, g_target_uS: Tensor, cell: CellSpec) -> Tensor:
    sigma_uS = effect.strength * effect.sigma_of_g_max * cell.g_max_uS * _widening(cell)
    return g_target_uS.new_full((), sigma_uS).expand_as(g_target_uS)


def _widening(cell: CellSpec) -> float:
    """How much wider spreads are than those of fresh cells."""
    return 1.0 if cell.endurance is None else cell.endurance.widening()


def reachable_uS(g_target_uS: Tensor, cell: CellSpec) -> Tensor:
    """Targets in µS, those that worn cells cannot reach moved to the edge of their window."""
    if cell.endurance is None or not cell.endurance.strength:
        return g_target_uS
    return g_target_uS.clamp(*cell.endurance.window_uS(cell.g_min_uS, cell.g_max_uS))


def programming_bias_uS(effect: object, g_target_uS: Tensor) -> Tensor | None:
    """Mean programming error in µS, of the shape of ``g_target_uS``; None where there is none."""
    if isinstance(effect, StateDependentProgrammingNoise) and effect.bias_uS is not None:
        return effect.strength * evaluate(effect.bias_uS, g_target_uS / effect.g_ref_uS)
    return None


def truncated_normal(bias: Tensor, sigma: Tensor, window: float, draws: torch.Generator) -> Tensor:
    """One draw of ``N(bias, sigma^2)`` within ``[-window, window]``, elementwise.

    Differentiable in bias and sigma at a fixed draw. Where sigma is zero it is the bias itself,
    held in the window; where the window lies more than 37 sigma away, its edge next to the bias.
    """
    return truncated_quantile(bias, sigma, window, uniform(bias.double(), draws))


def truncated_quantile(bias: Tensor, sigma: Tensor, window: float, chance: Tensor) -> Tensor:
    """Where the distribution function of :func:`truncated_normal` reaches ``chance`` in [0, 1].

    ``chance`` is in float64, and so is the calculation, for the tails; the result is of the dtype
    of ``sigma``.
    """
    mean, spread = bias.double(), sigma.double()
    noisy = spread > _NEGLIGIBLE * window
    safe = torch.where(noisy, spread, 1.0)
    # Mirrored so that a window in a tail is in the lower one: near 1, Phi has no precision left.
    mirrored = mean < 0
    side = torch.where(mirrored, -1.0, 1.0)
    mean = mean * side
    low, high = (_normal_cdf((edge - mean) / safe) for edge in (-window, window))
    level = low + torch.where(mirrored, 1.0 - chance, chance) * (high - low)
    drawn = mean + safe * torch.special.ndtri(level.clamp(_LOWEST_LEVEL, _HIGHEST_LEVEL))
    return (side * torch.where(noisy, drawn, mean).clamp(-window, window)).to(sigma.dtype)


def _normal_cdf(x: Tensor) -> Tensor:
    """Phi(x), precise in the lower tail, where ``torch.special.ndtr`` is zero below -8."""
    return torch.erfc(x * -math.sqrt(0.5)) / 2
