"""Nonlinear current-voltage laws of a cell."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from cimsim.profile.curves import AnyCurve
from cimsim.profile.effect import Effect, SpreadEffect
from cimsim.profile.fields import NonNegative, Number, Positive


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
    alike: ClassVar[bool] = False

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
    alike: ClassVar[bool] = True

    kind: Literal["sinh"] = "sinh"
    v_read_V: Positive = Field(description="voltage of a full-scale input")
    k_per_V: NonNegative = Field(description="curvature of the current over voltage")


class PooleFrenkelIV(SpreadEffect):
    """Poole-Frenkel emission, with a prefactor and a barrier that differ from cell to cell.

        I = g V + strength * (c V exp(beta sqrt(|V|)) - g V),    V = v_read * (input / full scale)
        c = c_ref r^c_exponent exp(spread_strength * sigma_ln_c * x)
        beta = beta_ref r^beta_exponent exp(spread_strength * sigma_ln_beta * y)
        r = max(g, 0.05 g_ref) / g_ref,    x, y ~ N(0, 1) with the given correlation, for each cell

    A cell without conductance has no current. With a distance d between charges and a permittivity
    eps, beta = 2 e / (k_B T) sqrt(e / (4 pi d eps)). The deviations x and y are fixed per device.
    Units: I in uA, V in V, g, g_ref, c and c_ref in uS, beta in 1/sqrt(V).
    Source: form of Joksas et al., Advanced Science 9, 2105784 (2022), Eqs. 9 and 10.
    """

    title: ClassVar[str] = "nonlinear current"
    alike: ClassVar[bool] = False

    kind: Literal["poole-frenkel"] = "poole-frenkel"
    v_read_V: Positive = Field(description="voltage of a full-scale input")
    g_ref_uS: Positive = Field(description="conductance at which r = 1")
    c_ref_uS: Positive = Field(description="prefactor at r = 1, the conductance at small voltages")
    c_exponent: Number = Field(default=1.0, description="power of r of the prefactor")
    beta_ref_per_sqrt_V: NonNegative = Field(description="lowering of the barrier at r = 1")
    beta_exponent: Number = Field(default=0.0, description="power of r of the lowering")
    sigma_ln_c: NonNegative = Field(
        default=0.0, description="spread of the prefactor's natural logarithm between cells"
    )
    sigma_ln_beta: NonNegative = Field(
        default=0.0, description="spread of the natural logarithm of the lowering between cells"
    )
    correlation: Annotated[Number, Field(ge=-1.0, le=1.0)] = Field(
        default=0.0, description="correlation of the two deviations of a cell"
    )


IV = Annotated[PolynomialIV | SinhIV | PooleFrenkelIV, Field(discriminator="kind")]
