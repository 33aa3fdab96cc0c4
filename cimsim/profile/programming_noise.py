"""Programming noise: the difference between the written and the target conductance.

``bounded`` clips a conductance to the cell's ``g_floor_uS`` (default 0) and ``g_ceiling_uS``
(default infinity); the idealized signed cell has no bounds. A share of each error is fixed per
device, and the rest is sampled at every write; see :class:`cimsim.profile.WrittenEffect`.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from cimsim.profile.curves import AnyCurve
from cimsim.profile.cycles import WrittenEffect
from cimsim.profile.effect import SpreadEffect
from cimsim.profile.fields import NonNegative, Positive


class StateDependentProgrammingNoise(SpreadEffect, WrittenEffect):
    """Gaussian programming error whose spread, and mean if given, depend on the target.

        g = bounded(g_target + strength * (bias(r) + spread_strength * max(0, sigma(r)) * xi))
        r = g_target / g_ref,    xi = sqrt(device_share) d + sqrt(1 - device_share) c
        d ~ N(0, 1), once per chip;    c ~ N(0, 1), once per write cycle

    Units: g, g_ref, bias and sigma in uS. The curves are absolute: they do not scale with g_max.
    Source: form and PCM coefficients, Joshi et al., Nat. Commun. 11, 2473 (2020).
    """

    title: ClassVar[str] = "programming noise"

    kind: Literal["state-dependent"] = "state-dependent"
    g_ref_uS: Positive = Field(description="conductance at which r = 1")
    sigma_uS: AnyCurve = Field(description="spread over r")
    bias_uS: AnyCurve | None = Field(default=None, description="mean error over r")


class RelativeProgrammingNoise(WrittenEffect):
    """Multiplicative mismatch: a spread proportional to the cell's conductance.

        g = bounded(g_target + strength * sigma_of_g * |g_target| * xi)
        xi = sqrt(device_share) d + sqrt(1 - device_share) c
        d ~ N(0, 1), once per chip;    c ~ N(0, 1), once per write cycle

    Units: g in uS; sigma_of_g is a fraction.
    Source: textbook model, no device.
    """

    allows_signed_cells: ClassVar[bool] = True
    title: ClassVar[str] = "relative programming noise"

    kind: Literal["relative"] = "relative"
    sigma_of_g: NonNegative = Field(description="spread as a fraction of the cell's conductance")


class GaussianProgrammingNoise(WrittenEffect):
    """Additive programming error with the same spread for all states (textbook model).

        g = bounded(g_target + strength * sigma * xi),    sigma = sigma_of_g_max * g_max
        xi = sqrt(device_share) d + sqrt(1 - device_share) c
        d ~ N(0, 1), once per chip;    c ~ N(0, 1), once per write cycle

    Units: sigma in uS; sigma_of_g_max is a fraction of g_max.
    Source: textbook model, no device.
    """

    allows_signed_cells: ClassVar[bool] = True
    title: ClassVar[str] = "Gaussian programming noise"

    kind: Literal["gaussian"] = "gaussian"
    sigma_of_g_max: NonNegative = Field(description="spread as a fraction of g_max")


ProgrammingNoise = Annotated[
    StateDependentProgrammingNoise | RelativeProgrammingNoise | GaussianProgrammingNoise,
    Field(discriminator="kind"),
]
