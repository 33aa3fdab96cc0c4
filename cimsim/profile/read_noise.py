"""Read noise: changes of a cell's conductance between uses.

White noise is sampled for every input vector. Slower noise is split by frequency: the part below
``1 / t_session_s`` is constant during a session, one pass of a network over its input. It acts as
an additional error of the chip and is sampled once for each age. Only the part above is sampled
for every vector.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import Field

from cimsim.profile.curves import AnyCurve
from cimsim.profile.effect import Effect
from cimsim.profile.fields import Fraction, NonNegative, Positive

_SESSION_s = 1e-4
_SESSION = "length of a session, during which noise below 1 / t_session is constant"


class FlickerTimes(NamedTuple):
    """Durations in s: of a read, of a session, and the time added to the age.

    A fresh cell has the noise of the age ``before_s``.
    """

    read_s: float
    session_s: float
    before_s: float


class FlickerReadNoise(Effect):
    """Noise of spectral density ``A^2 / f``, from the read pulse's bandwidth down to the age.

        g_read = g(t) + strength * A(g) * (sqrt(L(T) - L(s)) * slow(t) + sqrt(L(s)) * xi)
        L(u) = max(0, ln((u + t_read) / (2 t_read))),    T = t + t0,    s = min(T, t_session)

    A density of ``1 / f`` between two frequencies has the variance ``ln(f_high / f_low)``. A read
    of length t_read includes frequencies up to about ``1 / (2 t_read)``, and a cell of age T
    includes those down to ``1 / T``: ``A^2 L(T)`` in total. The part ``A^2 L(s)`` is faster than a
    session, with ``xi ~ N(0, 1)`` for every read; the rest is ``slow(t) ~ N(0, 1)``, one number per
    cell and session. The same chip at another age is in another session: each decade of time
    constants between t_session and T contributes an equal share of the slow part and decorrelates
    with its time constant. Two sessions separated by tau share about
    ``ln(T / tau) / ln(T / t_session)`` of it.
    Units: times in s (t_read in ns, converted), g and A in uS.
    Source: variance, Nandakumar et al., ICECS 2019; sessions, the integral of ``1 / f``.
    """

    depends_on_age: ClassVar[bool] = True

    t_read_ns: Positive = Field(description="length of one read pulse")
    t_session_s: Positive = Field(default=_SESSION_s, description=_SESSION)

    @property
    def times(self) -> FlickerTimes:
        """Durations that determine the growth of the noise."""
        return FlickerTimes(self.t_read_ns * 1e-9, self.t_session_s, self._before_s)

    @property
    def _before_s(self) -> float:
        return 0.0


class OneOverFReadNoise(FlickerReadNoise):
    """Flicker noise proportional to the current conductance.

        A(g) = g * max(0, q(r)),    r = g_target / g_ref
        g_read = g(t) + strength * A(g) * (sqrt(L(T) - L(s)) * slow(t) + sqrt(L(s)) * xi)
        L(u) = max(0, ln((u + t_read) / (2 t_read))),    T = t + t0,    s = min(T, t_session)
        slow(t) ~ N(0, 1) once per session;    xi ~ N(0, 1), new for every read

    For a cell that is stuck, ``g_target`` is the conductance at which it is stuck.
    Units: t, t0 and t_session in s, t_read in ns (converted), g in uS, q dimensionless.
    Source: Nandakumar et al., ICECS 2019; Joshi et al., Nat. Commun. 11, 2473 (2020).
    """

    title: ClassVar[str] = "1/f read noise"

    kind: Literal["one-over-f"] = "one-over-f"
    t0_s: NonNegative = Field(description="time from programming to the first read")
    g_ref_uS: Positive = Field(description="conductance at which r = 1")
    q: AnyCurve = Field(description="noise amplitude relative to g, over r")

    @property
    def _before_s(self) -> float:
        return self.t0_s


class AbsoluteOneOverFReadNoise(FlickerReadNoise):
    """Flicker noise with an amplitude in uS over the current conductance.

        A(g) = max(0, amplitude(r)),    r = g(t) / g_ref
        g_read = g(t) + strength * A(g) * (sqrt(L(t) - L(s)) * slow(t) + sqrt(L(s)) * xi)
        L(u) = max(0, ln((u + t_read) / (2 t_read))),    s = min(t, t_session)
        slow(t) ~ N(0, 1) once per session;    xi ~ N(0, 1), new for every read

    Units: t and t_session in s, t_read in ns (converted), g, g_ref and amplitude in uS.
    Source: Falcone et al. (2025), arXiv:2502.04524.
    """

    title: ClassVar[str] = "absolute 1/f read noise"

    kind: Literal["one-over-f-absolute"] = "one-over-f-absolute"
    g_ref_uS: Positive = Field(description="conductance at which r = 1")
    amplitude_uS: AnyCurve = Field(description="noise amplitude over r")


class StateDependentReadNoise(Effect):
    """White read noise whose spread depends on the current conductance.

        g_read = g + strength * max(0, sigma(r)) * xi,    xi ~ N(0, 1), new for every read
        r = g / g_ref

    Units: g, g_ref and sigma in uS.
    Source: given with the numbers.
    """

    title: ClassVar[str] = "read noise"

    kind: Literal["state-dependent"] = "state-dependent"
    g_ref_uS: Positive = Field(description="conductance at which r = 1")
    sigma_uS: AnyCurve = Field(description="spread over r")


class RelativeReadNoise(Effect):
    """White read noise proportional to the conductance.

        g_read = g * (1 + strength * sigma_of_g * xi),    xi ~ N(0, 1), new for every read

    Units: g in uS; sigma_of_g is a fraction.
    Source: textbook model, no device.
    """

    allows_signed_cells: ClassVar[bool] = True
    title: ClassVar[str] = "relative read noise"

    kind: Literal["relative"] = "relative"
    sigma_of_g: NonNegative = Field(description="spread as a fraction of the conductance")


class GaussianReadNoise(Effect):
    """White read noise with the same spread for all states (textbook model).

        g_read = g + strength * sigma * xi,    xi ~ N(0, 1), new for every read
        sigma = sigma_of_g_max * g_max

    Units: sigma in uS; sigma_of_g_max is a fraction of g_max.
    Source: textbook model, no device.
    """

    allows_signed_cells: ClassVar[bool] = True
    title: ClassVar[str] = "Gaussian read noise"

    kind: Literal["gaussian"] = "gaussian"
    sigma_of_g_max: NonNegative = Field(description="spread as a fraction of g_max")


class ThermalReadNoise(Effect):
    """Johnson-Nyquist noise of the cell's resistance over the length of a read.

        g_read = g + strength * sigma * xi,    xi ~ N(0, 1), new for every read
        sigma = sqrt(4 k T g B) / v_read,    B = 1 / (2 t_read),  T of the profile

    Units: g in S within the equation (uS elsewhere), B in Hz, t_read in ns (converted), v_read in
    V, T in K.
    Source: J. B. Johnson, Phys. Rev. 32, 97 (1928); H. Nyquist, Phys. Rev. 32, 110 (1928).
    """

    title: ClassVar[str] = "thermal read noise"

    kind: Literal["thermal"] = "thermal"
    v_read_V: Positive = Field(description="read voltage at full scale")
    t_read_ns: Positive = Field(description="integration time of one read")

    @property
    def uses_temperature(self) -> bool:
        """Always."""
        return True


class TelegraphReadNoise(Effect):
    """Random telegraph noise: some cells have a trap that is either filled or empty.

        g_read = g * (1 + strength * step * (occupancy - b)),    b ~ Bernoulli(occupancy)
        in the share of cells that have a trap (sampled once per chip)

    The noise has two states and is not Gaussian; its mean is zero and its variance is
    (strength step g)^2 p (1 - p) with p the occupancy. If ``t_switch`` is null or shorter than a
    session, the state is sampled for every read. A slower trap keeps its state for a session and
    samples a new one every t_switch, at times that differ between traps: a share ``tau / t_switch``
    of the traps has done so between two sessions separated by tau < t_switch.
    Units: t in s, g in uS; share, step and occupancy are dimensionless.
    Source: textbook model, no device.
    """

    title: ClassVar[str] = "telegraph noise"

    kind: Literal["telegraph"] = "telegraph"
    share_of_cells: Fraction = Field(description="fraction of cells with a trap")
    step_of_g: NonNegative = Field(
        description="relative difference of conductance between the two states"
    )
    occupancy: Fraction = Field(default=0.5, description="probability of the lower state")
    t_switch_s: Positive | None = Field(
        default=None, description="time between samples of a trap's state; null: every read"
    )
    t_session_s: Positive = Field(default=_SESSION_s, description=_SESSION)

    @property
    def slow(self) -> bool:
        """True if traps keep their states for a session."""
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
