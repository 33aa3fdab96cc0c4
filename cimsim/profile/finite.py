"""Effects that are so large that float32 makes infinity or no number of them are refused."""

from __future__ import annotations

import math
from collections.abc import Iterator

from cimsim.profile.aging import AgingEffect
from cimsim.profile.base import Curve
from cimsim.profile.effect import Effect, SpreadEffect
from cimsim.profile.fields import LARGEST
from cimsim.profile.nonlinearity import PolynomialIV, SinhIV
from cimsim.profile.temperature import ArrheniusTemperature, LinearTemperature

_LARGEST_EXPONENT = 60.0  # e^60 is 1e26
_LARGEST_ACCELERATION = 40.0  # e^40 is 2e17
_LARGEST_CHANGE = 1e6
_K_B_eV = 8.617333e-5
_ZERO_C_K = 273.15


def refuse_too_large(effect: Effect, g_uS: float) -> None:
    """Check every curve and number of ``effect`` up to the conductance ``g_uS``.

    Raises:
        ValueError: if one is too large.
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
                f"k_per_V times v_read_V is {exponent:.3g}, more than {_LARGEST_EXPONENT:g}, "
                "where no current is finite"
            )
    r = g_uS / float(getattr(effect, "g_ref_uS", g_uS))
    for name, bound in _bounds(effect, r):
        if not bound * factor <= LARGEST:
            raise ValueError(
                f"'{name}' reaches {bound * factor:.3g} at {g_uS:g} uS, with its strength; no "
                f"quantity of a device is larger than {LARGEST:g}; check its numbers and 'g_ref_uS'"
            )


def refuse_extreme_temperature(effect: Effect, temperature_C: float) -> None:
    """Check what a temperature makes of conductances.

    Raises:
        ValueError: if no float32 holds it.
    """
    if isinstance(effect, AgingEffect):
        exponent = abs(effect.log_acceleration(temperature_C))
        if exponent > _LARGEST_ACCELERATION:
            raise ValueError(
                f"time passes e^{exponent:.3g} times as fast or as slowly as at "
                f"{effect.reference_C:g} degrees Celsius, which it does in no cell; check "
                "'activation_eV' and 'storage_C'"
            )
    if isinstance(effect, ArrheniusTemperature):
        inverse = 1 / (temperature_C + _ZERO_C_K) - 1 / (effect.reference_C + _ZERO_C_K)
        exponent = abs(effect.strength * effect.activation_eV / _K_B_eV * inverse)
        if exponent > _LARGEST_EXPONENT:
            raise ValueError(
                f"conductances change by e^{exponent:.3g} between {effect.reference_C:g} and "
                f"{temperature_C:g} degrees Celsius, which no cell does"
            )
    if isinstance(effect, LinearTemperature):
        change = effect.strength * abs(temperature_C - effect.reference_C)
        if change * effect.alpha_per_K.largest(1.0) > _LARGEST_CHANGE:
            raise ValueError(
                f"conductances change more than {_LARGEST_CHANGE:g} times between "
                f"{effect.reference_C:g} and {temperature_C:g} degrees Celsius, which no cell does"
            )


def _bounds(effect: Effect, r: float) -> Iterator[tuple[str, float]]:
    """Every curve of ``effect`` and every number that its strength multiplies, with its size."""
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
