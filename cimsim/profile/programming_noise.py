"""Programming noise: how far a cell lands from the conductance it was meant to have."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from cimsim.profile.effect import Effect
from cimsim.profile.fields import NonNegative, Number, Positive


class PolynomialProgrammingNoise(Effect):
    """Gaussian programming error whose spread is a polynomial of the target conductance.

        g = max(g_min, g_target + strength * sigma(g_target) * xi),    xi ~ N(0, 1), once per chip
        sigma(g) = max(0, sum_k c_k (g / g_ref)^k)

    Units: g, g_ref and sigma in uS. The polynomial is physical: it is not rescaled when g_max is.
    Source: form and PCM coefficients, Joshi et al., Nat. Commun. 11, 2473 (2020).
    """

    kind: Literal["polynomial"] = "polynomial"
    g_ref_uS: Positive = Field(description="conductance that the polynomial is written in")
    sigma_uS: Annotated[tuple[Number, ...], Field(min_length=1)] = Field(
        description="coefficients c_0, c_1, ... of the spread"
    )


class GaussianProgrammingNoise(Effect):
    """Gaussian programming error with the same spread for every state (textbook).

        g = max(g_min, g_target + strength * sigma * xi),    xi ~ N(0, 1), once per chip
        sigma = sigma_of_g_max * g_max

    Units: sigma in uS; sigma_of_g_max is a fraction of g_max.
    Source: textbook model, no device.
    """

    kind: Literal["gaussian"] = "gaussian"
    sigma_of_g_max: NonNegative = Field(description="spread as a fraction of g_max")


ProgrammingNoise = Annotated[
    PolynomialProgrammingNoise | GaussianProgrammingNoise, Field(discriminator="kind")
]
