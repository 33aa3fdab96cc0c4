"""The parts of a chip that a profile describes: cell, array, DAC and ADC."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from cimsim.profile.drift import Drift
from cimsim.profile.fields import Bits, Count, NonNegative, Positive, Text
from cimsim.profile.programming_noise import ProgrammingNoise
from cimsim.profile.read_noise import ReadNoise
from cimsim.profile.section import Sourced


class Cell(Sourced):
    """One memory device: its range of conductance and everything that is wrong with it.

    Units: conductances in uS. An empty list of effects is an ideal cell in that respect.
    """

    technology: Text = Field(description="what the cell is made of, such as PCM or ReRAM")
    g_min_uS: NonNegative = Field(description="conductance of the fully off state")
    g_max_uS: Positive = Field(description="conductance of the fully on state")
    programming_noise: tuple[ProgrammingNoise, ...] = Field(
        default=(), description="errors made once, when the weights are written"
    )
    drift: tuple[Drift, ...] = Field(default=(), description="changes with age")
    read_noise: tuple[ReadNoise, ...] = Field(default=(), description="changes with every read")

    @field_validator("g_max_uS")
    @classmethod
    def _above_g_min(cls, g_max: float, info: ValidationInfo) -> float:
        if g_max <= info.data.get("g_min_uS", -1.0):
            raise ValueError("g_max_uS must be larger than g_min_uS")
        return g_max

    def scale_noise(self, factor: float) -> Cell:
        """This cell with every random effect ``factor`` times as large."""
        families = ("programming_noise", "drift", "read_noise")
        return self.model_copy(
            update={
                family: tuple(effect.scale_noise(factor) for effect in getattr(self, family))
                for family in families
            }
        )


class Array(Sourced):
    """One tile: a crossbar of cells, and what is done to its sums digitally.

    ``drift_compensation: global`` multiplies each layer by one factor that undoes the mean loss
    of conductance since programming.
    """

    rows: Count = Field(description="inputs of one tile")
    columns: Count = Field(description="outputs of one tile")
    drift_compensation: Literal["global", "none"] = Field(
        default="none", description="one digital factor per layer against the mean drift"
    )


class DAC(Sourced):
    """Converts digital inputs to row voltages; symmetric, with 2^(bits-1) - 1 positive levels.

    ``bits: null`` is ideal: neither rounds nor clips.
    """

    bits: Bits | None = Field(description="resolution; null is ideal")


class ADC(Sourced):
    """Converts column currents to digital outputs; symmetric, 2^(bits-1) - 1 positive levels.

        code = round(clip(y + noise_of_range * range * xi)),    xi ~ N(0, 1), new for every read

    ``bits: null`` is ideal: neither rounds nor clips. ``noise_of_range`` is a fraction of the
    largest output that the ADC can represent.
    """

    bits: Bits | None = Field(description="resolution; null is ideal")
    noise_of_range: NonNegative = Field(
        default=0.0, description="Gaussian noise before conversion, as a fraction of the range"
    )

    @field_validator("noise_of_range")
    @classmethod
    def _has_a_range(cls, noise: float, info: ValidationInfo) -> float:
        if noise > 0 and info.data.get("bits", 0) is None:
            raise ValueError("an ideal ADC has no range that noise could be a fraction of; use 0")
        return noise

    def scale_noise(self, factor: float) -> ADC:
        """This ADC with its noise ``factor`` times as large."""
        return self.model_copy(update={"noise_of_range": self.noise_of_range * factor})
