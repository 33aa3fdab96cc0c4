"""Read disturb: what reading does to a conductance."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from cimsim.profile.curves import AnyCurve
from cimsim.profile.cycles import WrittenEffect
from cimsim.profile.effect import SpreadEffect
from cimsim.profile.fields import NonNegative, Positive


class ReadDisturb(SpreadEffect, WrittenEffect):
    """Mean change and spread around it, known after a few numbers of reads.

        g(N) = g + strength * (shift(r, N) + spread_strength * max(0, sigma(r, N)) * xi)
        N = reads + reads_per_s * t,    r = g_target / g_ref
        xi = sqrt(device_share) d + sqrt(1 - device_share) c
        d ~ N(0, 1), once per chip;    c ~ N(0, 1), once per write cycle

    ``N`` counts the reads since the cell was written, ``t`` is the time since then. Both curves are
    interpolated linearly in ln(1 + N), from 0 at N = 0 through the table, and are constant beyond
    its end. Units: t in s, g, g_ref, shift and sigma in uS; reads have none.
    Source: Shim et al., IEEE Trans. Electron Devices 67, 2318 (2020), who measured conductances of
    ReRAM over the number of reads; the numbers are the device's.
    """

    depends_on_age: ClassVar[bool] = True

    kind: Literal["read-disturb"] = "read-disturb"
    reads: NonNegative = Field(description="reads since the cells were written, at age 0")
    reads_per_s: NonNegative = Field(default=0.0, description="reads in each second of the age")
    g_ref_uS: Positive = Field(description="conductance that the curves are written in")
    reads_of_table: Annotated[tuple[Positive, ...], Field(min_length=1)] = Field(
        description="numbers of reads of the table, ascending"
    )
    sigma_uS: tuple[AnyCurve, ...] = Field(
        description="the spread over r, one curve for each number of reads"
    )
    shift_uS: tuple[AnyCurve, ...] = Field(
        default=(), description="the mean change over r, one curve for each number, or none"
    )

    def count(self, age_s: float) -> float:
        """``N`` at the age ``age_s``."""
        return self.reads + self.reads_per_s * age_s

    @field_validator("reads_of_table")
    @classmethod
    def _ascending(cls, reads: tuple[float, ...]) -> tuple[float, ...]:
        if any(later <= earlier for earlier, later in pairwise(reads)):
            raise ValueError("the numbers of reads must ascend")
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
                f"give one curve for each of the {len(reads)} numbers in 'reads_of_table', "
                f"not {len(curves)}"
            )
        return curves
