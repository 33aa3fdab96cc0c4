"""Drift and relaxation: what becomes of a conductance after programming."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from cimsim.profile.curves import ClippedLog
from cimsim.profile.effect import Effect
from cimsim.profile.fields import Knob, Number, Positive


class PowerLawDrift(Effect):
    """Structural relaxation of phase-change memory: conductance decays as a power of time.

        g(t) = g_programmed * ((t + t0) / t0)^(-nu),    t = age since programming
        nu = strength * |mu(r) + spread_strength * s(r) * xi|,    xi ~ N(0, 1), once per chip
        mu, s = nu_mean, nu_std at r = g_target / g_ref (floored at 1e-7)

    Units: t and t0 in s, g in uS, nu has none. ``strength`` scales nu with its spread;
    ``spread_strength`` scales only the difference from cell to cell.
    Source: Joshi et al., Nat. Commun. 11, 2473 (2020); Nandakumar et al., ICECS 2019.
    """

    kind: Literal["power-law"] = "power-law"
    t0_s: Positive = Field(description="time from programming to the first read")
    g_ref_uS: Positive = Field(description="conductance at which r = 1")
    nu_mean: ClippedLog = Field(description="mean drift exponent")
    nu_std: ClippedLog = Field(description="spread of the drift exponent from cell to cell")
    spread_strength: Knob = Field(default=1.0, description="factor on the spread of nu alone")

    def scale_noise(self, factor: float) -> PowerLawDrift:
        """Scales the spread of nu; its mean is no noise and stays."""
        return self.model_copy(update={"spread_strength": self.spread_strength * factor})


class TabulatedSpread(Effect):
    """Relaxation of filamentary ReRAM: a spread around the target, measured at a few ages.

        g(t) = max(g_min, g_target + strength * sigma(g_target, t) * xi)
        xi ~ N(0, 1), once per chip
        sigma(g, t_i) = max(0, sum_k c_ik (g / g_ref)^k)

    sigma is interpolated linearly in ln t between the ages of the table and constant outside it.
    Units: t in s, g, g_ref and sigma in uS.
    Source: Wan et al., Nature 608, 504 (2022).
    """

    kind: Literal["tabulated-spread"] = "tabulated-spread"
    g_ref_uS: Positive = Field(description="conductance that the polynomials are written in")
    times_s: Annotated[tuple[Positive, ...], Field(min_length=1)] = Field(
        description="ages of the table, ascending"
    )
    sigma_uS: tuple[Annotated[tuple[Number, ...], Field(min_length=1)], ...] = Field(
        description="coefficients c_i0, c_i1, ... of the spread, one list for each age"
    )

    @field_validator("times_s")
    @classmethod
    def _ascending(cls, times: tuple[float, ...]) -> tuple[float, ...]:
        if any(later <= earlier for earlier, later in pairwise(times)):
            raise ValueError("the ages must ascend")
        return times

    @field_validator("sigma_uS")
    @classmethod
    def _one_for_each_age(
        cls, sigma: tuple[tuple[float, ...], ...], info: ValidationInfo
    ) -> tuple[tuple[float, ...], ...]:
        times = info.data.get("times_s")
        if times is not None and len(sigma) != len(times):
            raise ValueError(
                f"give one list of coefficients for each of the {len(times)} ages in 'times_s', "
                f"not {len(sigma)}"
            )
        return sigma


Drift = Annotated[PowerLawDrift | TabulatedSpread, Field(discriminator="kind")]
