"""Read noise: what changes from one use of a cell to the next."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from cimsim.profile.curves import AnyCurve
from cimsim.profile.effect import Effect
from cimsim.profile.fields import Fraction, NonNegative, Positive


class OneOverFReadNoise(Effect):
    """Flicker noise, accumulated from the read pulse's bandwidth down to the age of the cell.

        g_read = g(t) + strength * sigma * xi,    xi ~ N(0, 1), new for every read
        sigma(g, t) = g * Q(r) * sqrt(max(0, ln((t + t0 + t_read) / (2 t_read))))
        Q = max(0, q) at r = g / g_ref of the target conductance

    Units: t and t0 in s, t_read in ns (converted), g in uS, Q has none.
    Source: Nandakumar et al., ICECS 2019; Joshi et al., Nat. Commun. 11, 2473 (2020).
    """

    kind: Literal["one-over-f"] = "one-over-f"
    t0_s: NonNegative = Field(description="time from programming to the first read")
    t_read_ns: Positive = Field(description="length of one read pulse")
    g_ref_uS: Positive = Field(description="conductance at which r = 1")
    q: AnyCurve = Field(description="normalised size of the noise over conductance")


class AbsoluteOneOverFReadNoise(Effect):
    """Flicker noise whose size is given in uS over the present conductance.

        g_read = g(t) + strength * sigma * xi,    xi ~ N(0, 1), new for every read
        sigma(g, t) = max(0, amplitude(r)) * sqrt(max(0, ln((t + t_read) / (2 t_read))))
        r = g(t) / g_ref

    Units: t in s, t_read in ns (converted), g, g_ref and amplitude in uS.
    Source: Falcone et al. (2025), arXiv:2502.04524.
    """

    kind: Literal["one-over-f-absolute"] = "one-over-f-absolute"
    t_read_ns: Positive = Field(description="length of one read pulse")
    g_ref_uS: Positive = Field(description="conductance that the curve is written in")
    amplitude_uS: AnyCurve = Field(description="size of the noise over r")


class StateDependentReadNoise(Effect):
    """White read noise whose spread depends on the present conductance.

        g_read = g + strength * max(0, sigma(r)) * xi,    xi ~ N(0, 1), new for every read
        r = g / g_ref

    Units: g, g_ref and sigma in uS.
    Source: that of the numbers.
    """

    kind: Literal["state-dependent"] = "state-dependent"
    g_ref_uS: Positive = Field(description="conductance that the curve is written in")
    sigma_uS: AnyCurve = Field(description="spread over r")


class RelativeReadNoise(Effect):
    """White read noise in proportion to the conductance.

        g_read = g * (1 + strength * sigma_of_g * xi),    xi ~ N(0, 1), new for every read

    Units: g in uS; sigma_of_g is a fraction.
    Source: textbook model, no device.
    """

    kind: Literal["relative"] = "relative"
    sigma_of_g: NonNegative = Field(description="spread as a fraction of the conductance")


class GaussianReadNoise(Effect):
    """White read noise with the same spread for every state (textbook).

        g_read = g + strength * sigma * xi,    xi ~ N(0, 1), new for every read
        sigma = sigma_of_g_max * g_max

    Units: sigma in uS; sigma_of_g_max is a fraction of g_max.
    Source: textbook model, no device.
    """

    kind: Literal["gaussian"] = "gaussian"
    sigma_of_g_max: NonNegative = Field(description="spread as a fraction of g_max")


class ThermalReadNoise(Effect):
    """Johnson-Nyquist noise of the cell's own resistance over the length of a read.

        g_read = g + strength * sigma * xi,    xi ~ N(0, 1), new for every read
        sigma = sqrt(4 k T g B) / v_read,    B = 1 / (2 t_read),  T of the profile

    Units: g in S within the equation (uS elsewhere), B in Hz, t_read in ns (converted), v_read in
    V, T in K.
    Source: J. B. Johnson, Phys. Rev. 32, 97 (1928); H. Nyquist, Phys. Rev. 32, 110 (1928).
    """

    kind: Literal["thermal"] = "thermal"
    v_read_V: Positive = Field(description="read voltage at full scale")
    t_read_ns: Positive = Field(description="integration time of one read")


class TelegraphReadNoise(Effect):
    """Random telegraph noise: a trap that is filled or empty, in some of the cells.

        g_read = g * (1 + strength * step * (occupancy - b)),    b ~ Bernoulli(occupancy)
        b new for every read, in the share of cells that have a trap (drawn once per chip)

    Two states, not Gaussian; its mean is zero and its variance (strength step g)^2 p (1 - p) with
    p the occupancy. Units: g in uS; share, step and occupancy have none.
    Source: textbook model, no device.
    """

    kind: Literal["telegraph"] = "telegraph"
    share_of_cells: Fraction = Field(description="fraction of cells with a trap")
    step_of_g: NonNegative = Field(description="conductance between the two states over g")
    occupancy: Fraction = Field(default=0.5, description="probability of the lower state")


ReadNoise = Annotated[
    OneOverFReadNoise
    | AbsoluteOneOverFReadNoise
    | StateDependentReadNoise
    | RelativeReadNoise
    | GaussianReadNoise
    | ThermalReadNoise
    | TelegraphReadNoise,
    Field(discriminator="kind"),
]
