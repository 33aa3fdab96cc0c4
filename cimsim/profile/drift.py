"""Drift and relaxation: what becomes of a conductance after programming."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from cimsim.profile.curves import AnyCurve
from cimsim.profile.cycles import SHARE, WrittenEffect
from cimsim.profile.effect import SpreadEffect
from cimsim.profile.fields import Fraction, NonNegative, Number, Positive


class PowerLawDrift(SpreadEffect, WrittenEffect):
    """Structural relaxation of phase-change memory: conductance decays as a power of time.

        g(t) = g_programmed * ((t + t0) / t0)^(-nu),    t = age since programming
        nu = strength * |mu(r) + spread_strength * s(r) * xi|
        mu, s = nu_mean, nu_std at r = g_target / g_ref (floored at 1e-7)
        xi = sqrt(device_share) d + sqrt(1 - device_share) c
        d ~ N(0, 1), once per chip;    c ~ N(0, 1), once per write cycle

    Units: t and t0 in s, g in uS, nu has none. ``strength`` scales nu with its spread;
    ``spread_strength`` scales only the difference from cell to cell. That stays when a cell is
    written again, unless ``device_share`` says otherwise.
    Source: Joshi et al., Nat. Commun. 11, 2473 (2020); Nandakumar et al., ICECS 2019.
    """

    kind: Literal["power-law"] = "power-law"
    t0_s: Positive = Field(description="time from programming to the first read")
    g_ref_uS: Positive = Field(description="conductance at which r = 1")
    nu_mean: AnyCurve = Field(description="mean drift exponent over r")
    nu_std: AnyCurve = Field(description="spread of the drift exponent from cell to cell, over r")
    device_share: Fraction = Field(default=1.0, description=SHARE)


class LogRelaxation(SpreadEffect, WrittenEffect):
    """Relaxation of filamentary memory that goes on with the logarithm of time.

        g(t) = g + strength * (shift * L + spread_strength * max(0, sigma0 + slope * L) * xi)
        L = max(0, ln(t / t0)),    xi = sqrt(device_share) d + sqrt(1 - device_share) c
        d ~ N(0, 1), once per chip;    c ~ N(0, 1), once per write cycle

    Before t0 the spread is that of t0. Units: t and t0 in s, g, shift, sigma0 and slope in uS.
    Source: Falcone et al. (2025), arXiv:2502.04524.
    """

    kind: Literal["log-relaxation"] = "log-relaxation"
    t0_s: Positive = Field(description="age at which the logarithm begins")
    shift_uS: Number = Field(description="change of the mean per natural logarithm of time")
    sigma0_uS: NonNegative = Field(description="spread at t0")
    slope_uS: Number = Field(description="change of the spread per natural logarithm of time")


class TabulatedDrift(SpreadEffect, WrittenEffect):
    """Mean change and spread around it, known at a few ages.

        g(t) = g + strength * (shift(r, t) + spread_strength * max(0, sigma(r, t)) * xi)
        r = g_target / g_ref,    xi = sqrt(device_share) d + sqrt(1 - device_share) c
        d ~ N(0, 1), once per chip;    c ~ N(0, 1), once per write cycle

    Both are interpolated linearly in ln t between the ages of the table and constant outside it.
    Units: t in s, g, g_ref, shift and sigma in uS.
    Source: Wan et al., Nature 608, 504 (2022); Agrawal et al., IEDM 2022.
    """

    kind: Literal["tabulated"] = "tabulated"
    g_ref_uS: Positive = Field(description="conductance that the curves are written in")
    times_s: Annotated[tuple[Positive, ...], Field(min_length=1)] = Field(
        description="ages of the table, ascending"
    )
    sigma_uS: tuple[AnyCurve, ...] = Field(description="the spread over r, one curve for each age")
    shift_uS: tuple[AnyCurve, ...] = Field(
        default=(), description="the mean change over r, one curve for each age, or none"
    )

    @field_validator("times_s")
    @classmethod
    def _ascending(cls, times: tuple[float, ...]) -> tuple[float, ...]:
        if any(later <= earlier for earlier, later in pairwise(times)):
            raise ValueError("the ages must ascend")
        return times

    @field_validator("sigma_uS", "shift_uS")
    @classmethod
    def _one_for_each_age(
        cls, curves: tuple[AnyCurve, ...], info: ValidationInfo
    ) -> tuple[AnyCurve, ...]:
        times = info.data.get("times_s")
        optional = info.field_name == "shift_uS" and not curves
        if times is not None and len(curves) != len(times) and not optional:
            raise ValueError(
                f"give one curve for each of the {len(times)} ages in 'times_s', not {len(curves)}"
            )
        return curves


Drift = Annotated[PowerLawDrift | LogRelaxation | TabulatedDrift, Field(discriminator="kind")]
