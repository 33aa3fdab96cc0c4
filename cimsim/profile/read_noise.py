"""Read noise: what changes from one use of a cell to the next.

Noise has a spectrum. White noise is new for every input vector. Of noise that is slower, the part
below ``1 / t_session_s`` does not move during a session, one pass of a network over its input: it
is one more error of the chip, drawn once for each age. Only the part above is new for every vector.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import Field

from cimsim.profile.curves import AnyCurve
from cimsim.profile.effect import Effect
from cimsim.profile.fields import Fraction, NonNegative, Positive

_SESSION_s = 1e-4
_SESSION = "length of a session, in which noise below 1 / t_session stands still"


class FlickerTimes(NamedTuple):
    """In seconds: of a read, of a session, and what is added to the age, as the noise of a fresh
    cell is that of this time."""

    read_s: float
    session_s: float
    before_s: float


class FlickerReadNoise(Effect):
    """Noise of spectral density ``A^2 / f``, from the read pulse's bandwidth down to the age.

        g_read = g(t) + strength * A(g) * (sqrt(L(T) - L(s)) * slow(t) + sqrt(L(s)) * xi)
        L(u) = max(0, ln((u + t_read) / (2 t_read))),    T = t + t0,    s = min(T, t_session)

    A density of ``1 / f`` between two frequencies has the variance ``ln(f_high / f_low)``. A read
    of length t_read sees frequencies up to about ``1 / (2 t_read)``, and a cell of age T those down
    to ``1 / T``: ``A^2 L(T)`` in all. Of that, ``A^2 L(s)`` is faster than a session, with
    ``xi ~ N(0, 1)`` for every read; the rest is ``slow(t) ~ N(0, 1)``, one number per cell and
    session. The same chip at another age is in another session: each decade of time constants
    between t_session and T has the same share of the slow part, and forgets its past at its own
    pace. Two sessions that lie tau apart share about ``ln(T / tau) / ln(T / t_session)`` of it.
    Units: times in s (t_read in ns, converted), g and A in uS.
    Source: variance, Nandakumar et al., ICECS 2019; sessions, the integral of ``1 / f``.
    """

    depends_on_age: ClassVar[bool] = True

    t_read_ns: Positive = Field(description="length of one read pulse")
    t_session_s: Positive = Field(default=_SESSION_s, description=_SESSION)

    @property
    def times(self) -> FlickerTimes:
        """What the noise's growth depends on."""
        return FlickerTimes(self.t_read_ns * 1e-9, self.t_session_s, self._before_s)

    @property
    def _before_s(self) -> float:
        return 0.0


class OneOverFReadNoise(FlickerReadNoise):
    """Flicker noise in proportion to the present conductance.

        A(g) = g * max(0, q(r)),    r = g_target / g_ref
        g_read = g(t) + strength * A(g) * (sqrt(L(T) - L(s)) * slow(t) + sqrt(L(s)) * xi)
        L(u) = max(0, ln((u + t_read) / (2 t_read))),    T = t + t0,    s = min(T, t_session)
        slow(t) ~ N(0, 1) once per session;    xi ~ N(0, 1), new for every read

    Units: t, t0 and t_session in s, t_read in ns (converted), g in uS, q has none.
    Source: Nandakumar et al., ICECS 2019; Joshi et al., Nat. Commun. 11, 2473 (2020).
    """

    kind: Literal["one-over-f"] = "one-over-f"
    t0_s: NonNegative = Field(description="time from programming to the first read")
    g_ref_uS: Positive = Field(description="conductance at which r = 1")
    q: AnyCurve = Field(description="normalised size of the noise over conductance")

    @property
    def _before_s(self) -> float:
        return self.t0_s


class AbsoluteOneOverFReadNoise(FlickerReadNoise):
    """Flicker noise whose size is given in uS over the present conductance.

        A(g) = max(0, amplitude(r)),    r = g(t) / g_ref
        g_read = g(t) + strength * A(g) * (sqrt(L(t) - L(s)) * slow(t) + sqrt(L(s)) * xi)
        L(u) = max(0, ln((u + t_read) / (2 t_read))),    s = min(t, t_session)
        slow(t) ~ N(0, 1) once per session;    xi ~ N(0, 1), new for every read

    Units: t and t_session in s, t_read in ns (converted), g, g_ref and amplitude in uS.
    Source: Falcone et al. (2025), arXiv:2502.04524.
    """

    kind: Literal["one-over-f-absolute"] = "one-over-f-absolute"
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

    allows_signed_cells: ClassVar[bool] = True

    kind: Literal["relative"] = "relative"
    sigma_of_g: NonNegative = Field(description="spread as a fraction of the conductance")


class GaussianReadNoise(Effect):
    """White read noise with the same spread for every state (textbook).

        g_read = g + strength * sigma * xi,    xi ~ N(0, 1), new for every read
        sigma = sigma_of_g_max * g_max

    Units: sigma in uS; sigma_of_g_max is a fraction of g_max.
    Source: textbook model, no device.
    """

    allows_signed_cells: ClassVar[bool] = True

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

    @property
    def uses_temperature(self) -> bool:
        """Always."""
        return True


class TelegraphReadNoise(Effect):
    """Random telegraph noise: a trap that is filled or empty, in some of the cells.

        g_read = g * (1 + strength * step * (occupancy - b)),    b ~ Bernoulli(occupancy)
        in the share of cells that have a trap (drawn once per chip)

    Two states, not Gaussian; its mean is zero and its variance (strength step g)^2 p (1 - p) with
    p the occupancy. A trap whose ``t_switch`` is null, or shorter than a session, has a new state
    for every read. A slower one keeps its state for a session, and draws another one every
    t_switch, each at its own moment: a share ``tau / t_switch`` of the traps have done so between
    two sessions that lie tau < t_switch apart.
    Units: t in s, g in uS; share, step and occupancy have none.
    Source: textbook model, no device.
    """

    kind: Literal["telegraph"] = "telegraph"
    share_of_cells: Fraction = Field(description="fraction of cells with a trap")
    step_of_g: NonNegative = Field(description="conductance between the two states over g")
    occupancy: Fraction = Field(default=0.5, description="probability of the lower state")
    t_switch_s: Positive | None = Field(
        default=None, description="time after which a trap draws its state again; null is a read"
    )
    t_session_s: Positive = Field(default=_SESSION_s, description=_SESSION)

    @property
    def slow(self) -> bool:
        """Whether traps keep their states for a session."""
        return self.t_switch_s is not None and self.t_switch_s >= self.t_session_s


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
