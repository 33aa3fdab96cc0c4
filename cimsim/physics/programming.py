"""Programming noise: the difference between the written and the target conductance."""

from __future__ import annotations

import math
from functools import singledispatch

import torch
from torch import Tensor

from cimsim.physics.curves import evaluate
from cimsim.profile import (
    CellSpec,
    GaussianProgrammingNoise,
    RelativeProgrammingNoise,
    StateDependentProgrammingNoise,
)

_NEGLIGIBLE = 1e-12  # spread over window, below the rounding error
_LOWEST_LEVEL = 1e-300  # Phi(-37); below, the derivative of the inverse overflows
_HIGHEST_LEVEL = 1 - 2**-53  # the largest number below 1


@singledispatch
def programming_sigma_uS(effect: object, g_target_uS: Tensor, cell: CellSpec) -> Tensor:
    """Return the standard deviation in µS of programming, in the shape of ``g_target_uS``.

    There is one handler for each kind of ``cell.programming_noise``; the docstring of its profile
    class gives the equation.
    """
    raise NotImplementedError(f"no physics for programming noise {type(effect).__name__}")


@programming_sigma_uS.register
def _(effect: StateDependentProgrammingNoise, g_target_uS: Tensor, cell: CellSpec) -> Tensor:
    sigma = evaluate(effect.sigma_uS, g_target_uS / effect.g_ref_uS)
    return effect.strength * effect.spread_strength * _widening(cell) * sigma.clamp_min(0.0)


@programming_sigma_uS.register
def _(effect: RelativeProgrammingNoise, g_target_uS: Tensor, cell: CellSpec) -> Tensor:
    # Only an idealized signed cell has negative targets, and the slope of |g| at 0 uS is torch's 0.
    size_uS = g_target_uS.abs() if cell.signed else g_target_uS
    return effect.strength * effect.sigma_of_g * _widening(cell) * size_uS


@programming_sigma_uS.register
def _(effect: GaussianProgrammingNoise, g_target_uS: Tensor, cell: CellSpec) -> Tensor:
    sigma_uS = effect.strength * effect.sigma_of_g_max * cell.g_max_uS * _widening(cell)
    return g_target_uS.new_full((), sigma_uS).expand_as(g_target_uS)


def _widening(cell: CellSpec) -> float:
    """Return the ratio of the spread to that of fresh cells."""
    return 1.0 if cell.endurance is None else cell.endurance.widening()


def reachable_uS(g_target_uS: Tensor, cell: CellSpec) -> Tensor:
    """Clamp targets in µS to the window that worn cells can reach."""
    if cell.endurance is None or not cell.endurance.strength:
        return g_target_uS
    return g_target_uS.clamp(*cell.endurance.window_uS(cell.g_min_uS, cell.g_max_uS))


def programming_bias_uS(effect: object, g_target_uS: Tensor) -> Tensor | None:
    """Return the mean programming error in µS, in the shape of ``g_target_uS``, or None."""
    if isinstance(effect, StateDependentProgrammingNoise) and effect.bias_uS is not None:
        return effect.strength * evaluate(effect.bias_uS, g_target_uS / effect.g_ref_uS)
    return None


def truncated_normal(bias: Tensor, sigma: Tensor, window: float, draws: torch.Generator) -> Tensor:
    """Sample ``N(bias, sigma^2)`` truncated to ``[-window, window]``, elementwise.

    Differentiable in bias and sigma at a fixed draw. If sigma is zero, the result is the bias
    clamped to the window; if the window is more than 37 sigma away, the nearest edge of the window.
    """
    chance = bias.new_empty(bias.shape, dtype=torch.float64).uniform_(generator=draws)
    return truncated_quantile(bias, sigma, window, chance)


def truncated_quantile(bias: Tensor, sigma: Tensor, window: float, chance: Tensor) -> Tensor:
    """Return the quantile ``chance`` in [0, 1] of the distribution of :func:`truncated_normal`.

    ``chance`` and the calculation are in float64, for accurate tails; the result has the dtype of
    ``sigma``.
    """
    mean, spread = bias.double(), sigma.double()
    noisy = spread > _NEGLIGIBLE * window
    safe = torch.where(noisy, spread, 1.0)
    # Mirrored so that a window in a tail is in the lower tail: near 1, Phi loses all precision.
    mirrored = mean < 0
    side = torch.where(mirrored, -1.0, 1.0)
    mean = mean * side
    low, high = (_normal_cdf((edge - mean) / safe) for edge in (-window, window))
    level = low + torch.where(mirrored, 1.0 - chance, chance) * (high - low)
    drawn = mean + safe * torch.special.ndtri(level.clamp(_LOWEST_LEVEL, _HIGHEST_LEVEL))
    return (side * torch.where(noisy, drawn, mean).clamp(-window, window)).to(sigma.dtype)


def _normal_cdf(x: Tensor) -> Tensor:
    """Return Phi(x), accurate in the lower tail, where ``torch.special.ndtr`` is zero below -8."""
    return torch.erfc(x * -math.sqrt(0.5)) / 2
