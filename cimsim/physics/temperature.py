"""Temperature: changes of conductances relative to the reference temperature."""

from __future__ import annotations

import math
from functools import singledispatch

from torch import Tensor

from cimsim.physics.curves import evaluate
from cimsim.profile import ArrheniusTemperature, LinearTemperature

_BOLTZMANN_eV_PER_K = 8.617333262e-5
_ZERO_C_IN_K = 273.15


@singledispatch
def warmed_uS(effect: object, g_uS: Tensor, g_target_uS: Tensor, temperature_C: float) -> Tensor:
    """Return the conductance in µS at ``temperature_C``; ``g_uS`` at the reference temperature."""
    raise NotImplementedError(f"no physics for temperature effect {type(effect).__name__}")


@warmed_uS.register
def _(effect: LinearTemperature, g_uS: Tensor, g_target_uS: Tensor, temperature_C: float) -> Tensor:
    warmer_K = effect.strength * (temperature_C - effect.reference_C)
    if warmer_K == 0:
        return g_uS
    alpha = evaluate(effect.alpha_per_K, g_uS / effect.g_ref_uS)
    return g_uS * (1.0 + warmer_K * alpha).clamp_min(0.0)


@warmed_uS.register
def _(
    effect: ArrheniusTemperature, g_uS: Tensor, g_target_uS: Tensor, temperature_C: float
) -> Tensor:
    now, reference = (1 / (c + _ZERO_C_IN_K) for c in (temperature_C, effect.reference_C))
    exponent = -effect.strength * effect.activation_eV / _BOLTZMANN_eV_PER_K * (now - reference)
    return g_uS if exponent == 0 else g_uS * math.exp(exponent)
