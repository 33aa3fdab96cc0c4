"""Read disturb: changes of a conductance by reads."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from cimsim.profile.curves import AnyCurve
from cimsim.profile.cycles import WrittenEffect
from cimsim.profile.effect import SpreadEffect
from cimsim.profile.fields import ASCENDING, NonNegative, Positive, ascends


class ReadDisturb(SpreadEffect, WrittenEffect):
    """Mean change and spread, tabulated over the number of reads.

        g(N) = g + strength * (shift(r, N) + spread_strength * max(0, sigma(r, N)) * xi)
        N = reads + reads_per_s * t,    r = g_target / g_ref
        xi = sqrt(device_share) d + sqrt(1 - device_share) c
        d ~ N(0, 1), once per chip;    c ~ N(0, 1), once per write cycle

    ``N`` counts the reads since the cell was written, ``t`` is the time since then. Both curves are
    interpolated linearly in ln(1 + N), starting from 0 at N = 0, and are constant beyond the end of
    the table. Units: t in s; g, g_ref, shift and sigma in uS; reads dimensionless.
    Source: Shim et al., IEEE Trans. Electron Devices 67, 2318 (2020), who measured conductances of
    ReRAM over the number of reads; the numbers come from the device.
    """

    depends_on_age: ClassVar[bool] = True
    title: ClassVar[str] = "read disturb"

    kind: Literal["read-disturb"] = "read-disturb"
    reads: NonNegative = Field(description="number of reads at age 0 since the cells were written")
    reads_per_s: NonNegative = Field(default=0.0, description="reads per second of age")
    g_ref_uS: Positive = Field(description="conductance at which r = 1")
    reads_of_table: Annotated[tuple[Positive, ...], Field(min_length=1)] = Field(
        description="numbers of reads at the points of the table, ascending"
    )
    sigma_uS: tuple[AnyCurve, ...] = Field(
        description="spread over r, one curve for each number of reads"
    )
    shift_uS: tuple[AnyCurve, ...] = Field(
        default=(), description="mean change over r, one curve for each number; empty: no change"
    )

    def count(self, age_s: float) -> float:
        """Return ``N`` at the age ``age_s``."""
        return self.reads + self.reads_per_s * age_s

    @field_validator("reads_of_table")
    @classmethod
    def _ascending(cls, reads: tuple[float, ...]) -> tuple[float, ...]:
        if not ascends(reads):
            raise ValueError(f"the numbers of reads must be {ASCENDING}")
        return reads

    @field_validator("sigma_uS", "shift_uS")
    @classmethod
    def _one_for_each_number(
        cls, curves: tuple[AnyCurve, ...], info: ValidationInfo
    ) -> tuple[AnyCurve, ...]:
        reads = info.data.get("reads_of_table")
        optional = info.field_name == "shift_uS" and not curves
        if reads is not None and len(curves) != len(reads) and not optional:
            raise ValueError(
                f"must have one curve for each of the {len(reads)} numbers in 'reads_of_table', "
                f"not {len(curves)}"
            )
        return curves
