"""Aging effects that a higher storage temperature accelerates."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field
from pydantic_core import InitErrorDetails

from cimsim.profile.base import issue
from cimsim.profile.cycles import WrittenEffect
from cimsim.profile.effect import SpreadEffect
from cimsim.profile.fields import Celsius, NonNegative

_K_B_eV = 8.617333262e-5
_ZERO_C_K = 273.15


class AgingEffect(SpreadEffect, WrittenEffect):
    """A change with time that heat accelerates.

        t_ref = a t,    a = exp(E_a / k_B * (1 / T_ref - 1 / T_s))

    A time ``t`` at the storage temperature ``T_s`` is equivalent to ``t_ref`` at the temperature
    ``T_ref`` at which the effect's times were measured. The chip spends its whole age at ``T_s``:
    ``storage_C`` if set, the operating temperature otherwise. With an activation energy of 0 the
    temperature does not change the rate of aging.
    Units: T in K within the equation (degrees Celsius in the keys), E_a in eV, t in s.
    Source: S. Arrhenius, Z. Phys. Chem. 4, 226 (1889); the activation energy is the device's.
    """

    depends_on_age: ClassVar[bool] = True

    activation_eV: Annotated[NonNegative, Field(le=5)] = Field(
        default=0.0, description="activation energy of the aging; 0: independent of temperature"
    )
    reference_C: Celsius = Field(
        default=25.0, description="temperature at which the times were measured"
    )
    storage_C: Celsius | None = Field(
        default=None, description="storage temperature; null: the operating temperature"
    )

    @classmethod
    def _issues_of_raw(cls, data: Mapping[str, Any]) -> Iterator[InitErrorDetails]:
        yield from super()._issues_of_raw(data)
        if data.get("storage_C") is not None and not cls._feels_storage(data):
            message = "has no effect while nothing depends on temperature; set 'activation_eV' too"
            yield issue("no_effect", message, ("storage_C",), data["storage_C"])

    @classmethod
    def _feels_storage(cls, data: Mapping[str, Any]) -> bool:
        """Return whether the storage temperature has an effect, judged from the raw keys."""
        return bool(data.get("activation_eV"))

    @property
    def uses_temperature(self) -> bool:
        """True if the operating temperature has an effect."""
        return self.activation_eV > 0 and self.storage_C is None

    def stored_at_C(self, temperature_C: float) -> float:
        """Return the storage temperature at the operating temperature ``temperature_C``."""
        return temperature_C if self.storage_C is None else self.storage_C

    def log_acceleration(self, temperature_C: float) -> float:
        """Return ``ln a`` at the operating temperature ``temperature_C``."""
        if self.activation_eV == 0:
            return 0.0
        stored_K = self.stored_at_C(temperature_C) + _ZERO_C_K
        return self.activation_eV / _K_B_eV * (1 / (self.reference_C + _ZERO_C_K) - 1 / stored_K)

    def reference_age_s(self, age_s: float, temperature_C: float) -> float:
        """Return ``t_ref`` in s for the age ``age_s``."""
        return age_s * math.exp(self.log_acceleration(temperature_C))
