"""Checks that reject effects so large that float32 would overflow."""

from __future__ import annotations

import math
from collections.abc import Iterator

from cimsim.profile.aging import AgingEffect
from cimsim.profile.base import Curve
from cimsim.profile.effect import Effect, SpreadEffect
from cimsim.profile.fields import LARGEST
from cimsim.profile.nonlinearity import PolynomialIV, PooleFrenkelIV, SinhIV
from cimsim.profile.temperature import ArrheniusTemperature, LinearTemperature

_LARGEST_EXPONENT = 60.0  # e^60 is 1e26
_LARGEST_BARRIER = 20.0  # the series between cells needs about 70 terms there
_FARTHEST_SIGMA = 5.0
_LOWEST_R = 0.05  # as in the equation of the law
_LARGEST_ACCELERATION = 40.0  # e^40 is 2e17
_LARGEST_CHANGE = 1e6
_K_B_eV = 8.617333e-5
_ZERO_C_K = 273.15


def refuse_too_large(effect: Effect, g_uS: float) -> None:
    """Check all curves and numbers of ``effect`` up to the conductance ``g_uS``.

    Raises:
        ValueError: if a value is too large.
    """
    factor = effect.strength
    if isinstance(effect, SpreadEffect):
        factor *= max(effect.spread_strength, 1.0)
    if isinstance(effect, PolynomialIV):
        factor *= max(effect.v_read_V, 1.0) ** 2
    if isinstance(effect, SinhIV) and effect.strength:
        exponent = effect.k_per_V * effect.v_read_V
        if exponent > _LARGEST_EXPONENT:
            raise ValueError(
                f"k_per_V times v_read_V must be at most {_LARGEST_EXPONENT:g}, not "
                f"{exponent:.3g}, or currents overflow"
            )
    r = g_uS / float(getattr(effect, "g_ref_uS", g_uS))
    for name, bound in _bounds(effect, r):
        if not bound * factor <= LARGEST:
            raise ValueError(
                f"'{name}' times strength reaches {bound * factor:.3g} at {g_uS:g} µS, more than "
                f"the limit of {LARGEST:g}; check its numbers and 'g_ref_uS'"
            )
    if isinstance(effect, PooleFrenkelIV) and effect.strength:
        _refuse_large_barrier(effect)


def _refuse_large_barrier(effect: PooleFrenkelIV) -> None:
    spread = _FARTHEST_SIGMA * effect.spread_strength
    barrier = math.log(max(effect.beta_ref_per_sqrt_V * math.sqrt(effect.v_read_V), 1e-30))
    # At the lowest r, 0.05, and at r = 1.
    barrier += max(0.0, effect.beta_exponent * math.log(_LOWEST_R)) + spread * effect.sigma_ln_beta
    prefactor = math.log(effect.c_ref_uS) + spread * effect.sigma_ln_c
    prefactor += max(0.0, effect.c_exponent * math.log(_LOWEST_R))
    if barrier > math.log(_LARGEST_BARRIER):
        raise ValueError(
            f"beta times the root of v_read_V reaches e^{barrier:.3g} within {_FARTHEST_SIGMA:g} "
            f"standard deviations, more than the limit of {_LARGEST_BARRIER:g}; check "
            "'beta_ref_per_sqrt_V', 'beta_exponent' and 'sigma_ln_beta'"
        )
    if prefactor > _LARGEST_EXPONENT:
        raise ValueError(
            f"the prefactor reaches e^{prefactor:.3g} uS, more than the limit of "
            f"e^{_LARGEST_EXPONENT:g}; check 'c_ref_uS', 'c_exponent' and 'sigma_ln_c'"
        )


def refuse_extreme_temperature(effect: Effect, temperature_C: float) -> None:
    """Check the change of conductances at the temperature ``temperature_C``.

    Raises:
        ValueError: if the change is too large for float32.
    """
    if isinstance(effect, AgingEffect):
        exponent = abs(effect.log_acceleration(temperature_C))
        if exponent > _LARGEST_ACCELERATION:
            raise ValueError(
                f"aging is e^{exponent:.3g} times as fast or as slow as at "
                f"{effect.reference_C:g} degrees Celsius, more than the limit of "
                f"e^{_LARGEST_ACCELERATION:g}; check 'activation_eV' and 'storage_C'"
            )
    if isinstance(effect, ArrheniusTemperature):
        inverse = 1 / (temperature_C + _ZERO_C_K) - 1 / (effect.reference_C + _ZERO_C_K)
        exponent = abs(effect.strength * effect.activation_eV / _K_B_eV * inverse)
        if exponent > _LARGEST_EXPONENT:
            raise ValueError(
                f"conductances change by e^{exponent:.3g} between {effect.reference_C:g} and "
                f"{temperature_C:g} degrees Celsius, more than the limit of "
                f"e^{_LARGEST_EXPONENT:g}; check 'activation_eV' and 'temperature_C'"
            )
    if isinstance(effect, LinearTemperature):
        change = effect.strength * abs(temperature_C - effect.reference_C)
        if change * effect.alpha_per_K.largest(1.0) > _LARGEST_CHANGE:
            raise ValueError(
                f"conductances change more than {_LARGEST_CHANGE:g} times between "
                f"{effect.reference_C:g} and {temperature_C:g} degrees Celsius; check "
                "'alpha_per_K' and 'temperature_C'"
            )


def _bounds(effect: Effect, r: float) -> Iterator[tuple[str, float]]:
    """Yield name and magnitude of each curve and each number that the strength multiplies."""
    for name in type(effect).model_fields:
        value = getattr(effect, name)
        curves = value if isinstance(value, tuple) else (value,)
        for curve in curves:
            if isinstance(curve, Curve):
                yield name, _largest(curve, r)
        if isinstance(value, float) and name.startswith(("sigma", "shift", "slope", "step")):
            yield name, abs(value)


def _largest(curve: Curve, r: float) -> float:
    try:
        return curve.largest(r)
    except OverflowError:
        return math.inf
