"""Drift and relaxation: changes of a conductance after programming.

If a storage temperature or an activation energy is given, ``t`` in the equations is the time at the
reference temperature; see :class:`cimsim.profile.AgingEffect`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from cimsim.profile.aging import AgingEffect
from cimsim.profile.curves import AnyCurve
from cimsim.profile.cycles import SHARE
from cimsim.profile.fields import (
    ASCENDING,
    Celsius,
    Fraction,
    NonNegative,
    Number,
    Positive,
    ascends,
)
from cimsim.profile.read_disturb import ReadDisturb

_ZERO_C_K = 273.15


class PowerLawDrift(AgingEffect):
    """Structural relaxation of phase-change memory: conductance decays as a power of time.

        g(t) = g_programmed * ((t + t0) / t0)^(-nu),    t = age since programming
        nu = strength * T_s / T * |mu(r) + spread_strength * s(r) * xi|
        mu, s = nu_mean, nu_std at r = g_target / g_ref (floored at 1e-7)
        T_s / T: storage and operating temperature in K; the ratio is 1 if storage_C is null
        xi = sqrt(device_share) d + sqrt(1 - device_share) c
        d ~ N(0, 1), once per chip;    c ~ N(0, 1), once per write cycle

    Units: t and t0 in s, g in uS, nu dimensionless. ``strength`` scales nu with its spread;
    ``spread_strength`` scales only the difference between cells. A cell keeps this difference when
    it is written again, unless ``device_share`` is below 1.

    Relaxation overcomes barriers of ``k_B T_s ln t`` and thereby raises the activation energy of
    conduction at the read temperature: a cell stored hot and read cold has drifted ``T_s / T``
    times as far, in decades. With equal storage and read temperatures the exponent does not depend
    on temperature. An activation energy additionally shortens t0.
    Source: Joshi et al., Nat. Commun. 11, 2473 (2020); Nandakumar et al., ICECS 2019. Temperature:
    Boniardi and Ielmini, Appl. Phys. Lett. 98, 243506 (2011), without their Meyer-Neldel term;
    Ielmini et al., Appl. Phys. Lett. 92, 193511 (2008); drift of Ge2Sb2Te5 as growth of the
    activation energy: Wimmer et al., Front. Phys. 2, 75 (2014).
    """

    title: ClassVar[str] = "drift"

    kind: Literal["power-law"] = "power-law"
    t0_s: Positive = Field(description="time from programming to the first read")
    g_ref_uS: Positive = Field(description="conductance at which r = 1")
    nu_mean: AnyCurve = Field(description="mean drift exponent over r")
    nu_std: AnyCurve = Field(description="cell-to-cell spread of the drift exponent over r")
    device_share: Fraction = Field(default=1.0, description=SHARE)

    @classmethod
    def _feels_storage(cls, data: Mapping[str, Any]) -> bool:
        return True

    @property
    def uses_temperature(self) -> bool:
        """See :class:`AgingEffect`."""
        return super().uses_temperature or self.storage_C is not None

    def steepness(self, temperature_C: float) -> float:
        """Return ``T_s / T`` at the operating temperature ``temperature_C``."""
        if self.storage_C is None:
            return 1.0
        return (self.storage_C + _ZERO_C_K) / (temperature_C + _ZERO_C_K)


class LogRelaxation(AgingEffect):
    """Relaxation of filamentary memory with the logarithm of time.

        g(t) = g + strength * (shift * L + spread_strength * max(0, sigma0 + slope * L) * xi)
        L = max(0, ln(t / t0)),    xi = sqrt(device_share) d + sqrt(1 - device_share) c
        d ~ N(0, 1), once per chip;    c ~ N(0, 1), once per write cycle

    Before t0, the spread equals that at t0. Units: t and t0 in s; g, shift, sigma0 and slope in uS.
    Source: Falcone et al. (2025), arXiv:2502.04524.
    """

    title: ClassVar[str] = "relaxation"

    kind: Literal["log-relaxation"] = "log-relaxation"
    t0_s: Positive = Field(description="age at which the relaxation starts")
    shift_uS: Number = Field(description="change of the mean per natural logarithm of time")
    sigma0_uS: NonNegative = Field(description="spread at t0")
    slope_uS: Number = Field(description="change of the spread per natural logarithm of time")


class TabulatedDrift(AgingEffect):
    """Mean change and spread, tabulated at several ages.

        g(t) = g + strength * (shift(r, t) + spread_strength * max(0, sigma(r, t)) * xi)
        r = g_target / g_ref,    xi = sqrt(device_share) d + sqrt(1 - device_share) c
        d ~ N(0, 1), once per chip;    c ~ N(0, 1), once per write cycle

    Both are interpolated linearly in ln t between the ages of the table and are constant outside.
    With ``temperatures_C``, ``sigma_uS`` and ``shift_uS`` concatenate one such table per storage
    temperature; between two temperatures both are interpolated linearly in 1 / T (Arrhenius
    coordinates, T in K), and they are constant outside.
    Units: t in s, g, g_ref, shift and sigma in uS.
    Source: Wan et al., Nature 608, 504 (2022); Agrawal et al., IEDM 2022.
    """

    title: ClassVar[str] = "tabulated drift"

    kind: Literal["tabulated"] = "tabulated"
    g_ref_uS: Positive = Field(description="conductance at which r = 1")
    times_s: Annotated[tuple[Positive, ...], Field(min_length=1)] = Field(
        description="ages of the table, ascending"
    )
    temperatures_C: tuple[Celsius, ...] = Field(
        default=(), description="temperatures of the tables, ascending; empty: one table for all"
    )
    sigma_uS: tuple[AnyCurve, ...] = Field(description="spread over r, one curve for each age")
    shift_uS: tuple[AnyCurve, ...] = Field(
        default=(), description="mean change over r, one curve for each age; empty: no change"
    )

    @classmethod
    def _feels_storage(cls, data: Mapping[str, Any]) -> bool:
        return super()._feels_storage(data) or bool(data.get("temperatures_C"))

    @property
    def uses_temperature(self) -> bool:
        """See :class:`AgingEffect`."""
        by_table = bool(self.temperatures_C) and self.storage_C is None
        return super().uses_temperature or by_table

    def tables_at(self, temperature_C: float) -> tuple[tuple[int, float], ...]:
        """Return index and weight of each table that applies at ``temperature_C``.

        ``temperature_C`` is the operating temperature. The weights add up to 1.
        """
        stored_C = self.stored_at_C(temperature_C)
        known = self.temperatures_C
        above = sum(celsius <= stored_C for celsius in known)
        if above in (0, len(known)):
            return ((max(above - 1, 0), 1.0),)
        low, stored, high = (
            1 / (celsius + _ZERO_C_K) for celsius in (known[above - 1], stored_C, known[above])
        )
        share = (stored - low) / (high - low)
        return (above - 1, 1.0 - share), (above, share)

    @field_validator("times_s")
    @classmethod
    def _ascending(cls, times: tuple[float, ...]) -> tuple[float, ...]:
        if not ascends(times):
            raise ValueError(f"the ages must be {ASCENDING}")
        return times

    @field_validator("temperatures_C")
    @classmethod
    def _temperatures_ascend(
        cls, temperatures: tuple[float, ...], info: ValidationInfo
    ) -> tuple[float, ...]:
        if not ascends(temperatures):
            raise ValueError(f"the temperatures must be {ASCENDING}")
        if temperatures and info.data.get("activation_eV"):
            raise ValueError("set either 'activation_eV' or tables over temperature, not both")
        return temperatures

    @field_validator("sigma_uS", "shift_uS")
    @classmethod
    def _one_for_each_age(
        cls, curves: tuple[AnyCurve, ...], info: ValidationInfo
    ) -> tuple[AnyCurve, ...]:
        times, temperatures = info.data.get("times_s"), info.data.get("temperatures_C")
        optional = info.field_name == "shift_uS" and not curves
        if times is None or temperatures is None or optional:
            return curves
        if len(curves) != len(times) * max(1, len(temperatures)):
            each = f" at each of the {len(temperatures)} temperatures" if temperatures else ""
            raise ValueError(
                f"must have one curve for each of the {len(times)} ages in 'times_s'{each}, "
                f"not {len(curves)}"
            )
        return curves


Drift = Annotated[
    PowerLawDrift | LogRelaxation | TabulatedDrift | ReadDisturb, Field(discriminator="kind")
]
