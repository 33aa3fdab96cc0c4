"""Read noise: what changes from one use of a cell to the next."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from cimsim.profile.curves import CappedPower
from cimsim.profile.effect import Effect
from cimsim.profile.fields import NonNegative, Positive


class OneOverFReadNoise(Effect):
    """Flicker noise, accumulated from the read pulse's bandwidth down to the age of the cell.

        g_read = g(t) + strength * sigma * xi,    xi ~ N(0, 1), new for every read
        sigma(g, t) = g * Q(r) * sqrt(ln((t + t0 + t_read) / (2 t_read)))
        Q = q at r = g / g_ref of the target conductance

    Units: t and t0 in s, t_read in ns (converted), g in uS, Q has none.
    Source: Nandakumar et al., ICECS 2019; Joshi et al., Nat. Commun. 11, 2473 (2020).
    """

    kind: Literal["one-over-f"] = "one-over-f"
    t0_s: Positive = Field(description="time from programming to the first read")
    t_read_ns: Positive = Field(description="length of one read pulse")
    g_ref_uS: Positive = Field(description="conductance at which r = 1")
    q: CappedPower = Field(description="normalised size of the noise over conductance")


class GaussianReadNoise(Effect):
    """White read noise with the same spread for every state (textbook).

        g_read = g + strength * sigma * xi,    xi ~ N(0, 1), new for every read
        sigma = sigma_of_g_max * g_max

    Units: sigma in uS; sigma_of_g_max is a fraction of g_max.
    Source: textbook model, no device.
    """

    kind: Literal["gaussian"] = "gaussian"
    sigma_of_g_max: NonNegative = Field(description="spread as a fraction of g_max")


ReadNoise = Annotated[OneOverFReadNoise | GaussianReadNoise, Field(discriminator="kind")]
