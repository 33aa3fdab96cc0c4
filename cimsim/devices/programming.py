"""Programming noise: how far a cell lands from the conductance it was asked for."""

from __future__ import annotations

from functools import singledispatch

from torch import Tensor

from cimsim.profile import Cell, GaussianProgrammingNoise, PolynomialProgrammingNoise


def polynomial(coefficients: tuple[float, ...], r: Tensor) -> Tensor:
    """``sum_k c_k r^k`` by Horner's rule, elementwise; same shape as ``r``."""
    value = r.new_full((), coefficients[-1]).expand_as(r)
    for coefficient in reversed(coefficients[:-1]):
        value = value * r + coefficient
    return value


@singledispatch
def programming_sigma_uS(effect: object, g_target_uS: Tensor, cell: Cell) -> Tensor:
    """Standard deviation of the programmed conductance in µS; same shape as ``g_target_uS``.

    One handler per kind of the profile's ``cell.programming_noise``; each one's equation stands
    in the docstring of its profile class.
    """
    raise NotImplementedError(f"no physics for programming noise {type(effect).__name__}")


@programming_sigma_uS.register
def _(effect: PolynomialProgrammingNoise, g_target_uS: Tensor, cell: Cell) -> Tensor:
    sigma = polynomial(tuple(effect.sigma_uS), g_target_uS / effect.g_ref_uS)
    return effect.strength * sigma.clamp_min(0.0)


@programming_sigma_uS.register
def _(effect: GaussianProgrammingNoise, g_target_uS: Tensor, cell: Cell) -> Tensor:
    sigma_uS = effect.strength * effect.sigma_of_g_max * cell.g_max_uS
    return g_target_uS.new_full((), sigma_uS).expand_as(g_target_uS)
