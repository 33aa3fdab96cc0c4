"""The profile: one typed, frozen object that describes a chip."""

from __future__ import annotations

import math

from pydantic import Field

from cimsim.errors import CimsimError
from cimsim.profile.fields import Paragraph, SchemaVersion, Text
from cimsim.profile.section import Section
from cimsim.profile.sections import ADC, DAC, Array, Cell


class Profile(Section):
    """One device in numbers, each with its unit in its name and its source beside it."""

    schema_version: SchemaVersion = Field(description="version of this file format")
    name: Text = Field(description="short name, the same as the file's")
    title: Text = Field(description="one line")
    description: Paragraph = Field(
        default="", description="what is modelled, what is not, and the valid range"
    )
    sources: dict[str, Text] = Field(
        default_factory=dict, description="the works that the sources name: key and full citation"
    )
    cell: Cell = Field(description="the memory device")
    array: Array = Field(description="one tile of cells, and the digital sums behind it")
    dac: DAC = Field(description="the converters of the inputs")
    adc: ADC = Field(description="the converters of the outputs")
    overrides: tuple[str, ...] = Field(
        default=(), description="what was set by hand when the profile was loaded"
    )

    @classmethod
    def known_keys(cls) -> list[str]:
        """The keys of a file: the fields, and ``extends``, which the loader resolves."""
        return [*super().known_keys(), "extends"]

    def scale_noise(self, factor: float) -> Profile:
        """The same chip with every random effect ``factor`` times as large.

        Mean drift, bits and sizes stay. At 0 the chip has no randomness left, at 1 it is equal.

        Raises:
            CimsimError: if ``factor`` is negative or not finite.
        """
        if not (math.isfinite(factor) and factor >= 0):
            raise CimsimError(f"the noise factor must be 0 or more, not {factor}")
        return self.model_copy(
            update={"cell": self.cell.scale_noise(factor), "adc": self.adc.scale_noise(factor)}
        )
