"""Temperature: changes of conductances relative to the reference temperature."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from cimsim.profile.curves import AnyCurve
from cimsim.profile.effect import Effect
from cimsim.profile.fields import Celsius, Number, Positive


class LinearTemperature(Effect):
    """Conductance that changes linearly with temperature.

        g(T) = g * max(0, 1 + strength * alpha(r) * (T - T_ref)),    r = g / g_ref

    Units: T (``temperature_C`` of the profile) and T_ref in degrees Celsius, alpha in 1/K, g in uS.
    Source: textbook model; the coefficients come from the device.
    """

    random: ClassVar[bool] = False
    title: ClassVar[str] = "temperature dependence"

    kind: Literal["linear"] = "linear"
    reference_C: Celsius = Field(description="temperature at which the conductances were measured")
    g_ref_uS: Positive = Field(description="conductance at which r = 1")
    alpha_per_K: AnyCurve = Field(description="relative change per kelvin over r")

    @property
    def uses_temperature(self) -> bool:
        """Always."""
        return True


class ArrheniusTemperature(Effect):
    """Thermally activated conduction.

        g(T) = g * exp(-strength * E_a / k_B * (1 / T - 1 / T_ref))

    Units: T and T_ref in K within the equation (degrees Celsius in the keys), E_a in eV, g in uS.
    Source: textbook model; the activation energy comes from the device.
    """

    random: ClassVar[bool] = False
    title: ClassVar[str] = "thermal activation"

    kind: Literal["arrhenius"] = "arrhenius"
    reference_C: Celsius = Field(description="temperature at which the conductances were measured")
    activation_eV: Annotated[Number, Field(ge=-5, le=5)] = Field(
        description="activation energy of the conduction"
    )

    @property
    def uses_temperature(self) -> bool:
        """Always."""
        return True


TemperatureEffect = Annotated[LinearTemperature | ArrheniusTemperature, Field(discriminator="kind")]
