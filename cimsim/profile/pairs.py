"""Several pairs of cells per weight."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from cimsim.profile.base import Sourced
from cimsim.profile.fields import NonNegative, Number, Positive, ascends

_Factors = Annotated[tuple[Positive, ...], Field(min_length=1, max_length=8)]


class WeightTable(Sourced):
    """Table of conductances over the weight, with one column for each cell.

        G_d(r) = g_uS[d] interpolated at r,    w / scale = sum_k f_k (G+_k - G-_k) / unit
        unit = half the difference of that sum at r = 1 and at r = -1

    The order of cells is G+, G- of the first pair, G+, G- of the second, and so on. A table whose
    sum is not linear in r distorts the weights.
    Units: g in uS, r = w / scale.
    Source: C. Mackin et al., Nat. Commun. 13, 3765 (2022), who optimized such tables.
    """

    r: tuple[Number, ...] = Field(description="relative weights, ascending from -1 to 1")
    g_uS: tuple[tuple[NonNegative, ...], ...] = Field(
        description="conductances at these weights, one list for each cell"
    )

    @field_validator("r")
    @classmethod
    def _from_end_to_end(cls, r: tuple[float, ...]) -> tuple[float, ...]:
        if len(r) < 2 or r[0] != -1 or r[-1] != 1 or not ascends(r):
            raise ValueError("must be in ascending order from -1 to 1")
        return r

    @field_validator("g_uS")
    @classmethod
    def _one_for_each_weight(
        cls, g_uS: tuple[tuple[float, ...], ...], info: ValidationInfo
    ) -> tuple[tuple[float, ...], ...]:
        count = len(info.data.get("r", ()))
        for index, of_cell in enumerate(g_uS):
            if count and len(of_cell) != count:
                raise ValueError(
                    f"cell {index} has {len(of_cell)} conductances for {count} weights in 'r'"
                )
        return g_uS


class Pairs(Sourced):
    """Several pairs of cells whose currents are added before the ADC, each with its significance.

        w / scale = sum_k f_k (G+_k - G-_k) / (span F)

    ``shared``: every pair stores the whole relative weight, F = sum_k f_k, so that independent
    errors average. ``corrected``: the first pair stores the weight, F = f_1, and each further pair
    stores the remaining error of the pairs before it, within its range. The chip implements the
    significance by a longer pulse or a wider mirror, which multiplies signal and noise of a cell.
    Units: dimensionless.
    Source: P. Narayanan et al., IEEE Trans. Electron Devices 68, 6629 (2021).
    """

    significance: _Factors = Field(description="f_k of each pair, such as [4, 1]")
    writing: Literal["shared", "corrected"] = Field(
        default="shared", description="content of the pairs after the first"
    )
    table: WeightTable | None = Field(
        default=None, description="conductances of all cells over the weight; null: the linear rule"
    )

    @field_validator("table")
    @classmethod
    def _has_every_cell(cls, table: WeightTable | None, info: ValidationInfo) -> WeightTable | None:
        factors = info.data.get("significance")
        if table is None or factors is None:
            return table
        if len(table.g_uS) != 2 * len(factors):
            raise ValueError(
                f"{len(factors)} pairs have {2 * len(factors)} cells, but 'g_uS' has "
                f"{len(table.g_uS)} lists"
            )
        if info.data.get("writing") == "corrected":
            raise ValueError("cannot be combined with 'writing: corrected'")
        if table_unit_uS(table, factors) <= 0:
            raise ValueError("the weight stored at r = 1 must be larger than that at r = -1")
        return table


def table_unit_uS(table: WeightTable, significance: tuple[float, ...]) -> float:
    """Return the difference of conductances, in uS, for a relative weight of 1."""
    pairs = list(zip(significance, table.g_uS[::2], table.g_uS[1::2], strict=True))

    def held_uS(at: int) -> float:
        return sum(f * (plus[at] - minus[at]) for f, plus, minus in pairs)

    return (held_uS(-1) - held_uS(0)) / 2
