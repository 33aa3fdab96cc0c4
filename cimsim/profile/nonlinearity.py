"""Nonlinear current-voltage laws of a cell."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from cimsim.profile.curves import AnyCurve
from cimsim.profile.effect import Effect
from cimsim.profile.fields import NonNegative, Positive


class PolynomialIV(Effect):
    """A current that is nonlinear in voltage, with state-dependent coefficients.

        I = g V + strength * (a2(r) |V| V + a3(r) V^3),    r = g / g_ref
        V = v_read * (input over its full scale)

    Odd in V, because a negative input is a negative voltage (or a swapped pair).
    Units: I in uA, V in V, g and g_ref in uS, a2 in uA/V^2, a3 in uA/V^3.
    Source: form of Milo et al., IRPS 2021.
    """

    random: ClassVar[bool] = False
    title: ClassVar[str] = "nonlinear current"

    kind: Literal["polynomial"] = "polynomial"
    v_read_V: Positive = Field(description="voltage of a full-scale input")
    g_ref_uS: Positive = Field(description="conductance at which r = 1")
    a2_uA_per_V2: AnyCurve = Field(description="quadratic coefficient over r")
    a3_uA_per_V3: AnyCurve = Field(description="cubic coefficient over r")


class SinhIV(Effect):
    """Hopping conduction: a hyperbolic sine of the voltage, equal for all states.

        I = g * (V + strength * (sinh(k V) / k - V)),    V = v_read * (input over its full scale)

    Units: I in uA, V in V, g in uS, k in 1/V.
    Source: textbook model, no device.
    """

    random: ClassVar[bool] = False
    title: ClassVar[str] = "nonlinear current"

    kind: Literal["sinh"] = "sinh"
    v_read_V: Positive = Field(description="voltage of a full-scale input")
    k_per_V: NonNegative = Field(description="curvature of the current over voltage")


IV = Annotated[PolynomialIV | SinhIV, Field(discriminator="kind")]
