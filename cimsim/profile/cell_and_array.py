"""The parts of a chip beside its converters: the cell and the array."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from cimsim.profile.base import Sourced
from cimsim.profile.drift import Drift
from cimsim.profile.endurance import Endurance
from cimsim.profile.faults import Faults
from cimsim.profile.fields import Count, NonNegative, Number, Positive, Text
from cimsim.profile.finite import refuse_too_large
from cimsim.profile.nonlinearity import IV
from cimsim.profile.pairs import Pairs
from cimsim.profile.programming_noise import ProgrammingNoise
from cimsim.profile.read_noise import ReadNoise
from cimsim.profile.temperature import TemperatureEffect
from cimsim.profile.variation import Variation

_LARGEST_WIDENING = 1e6


class WriteVerify(Sourced):
    """Cells are written again until they lie close enough to their target.

        |g - g_target| <= tolerance: the error is drawn from its Gaussian, cut off there

    Where several kinds of programming noise act, the window is for their sum. What of them stays
    with the device (``device_share``) is one more mean error of the cell.
    Units: g and tolerance in uS.
    Source: the chip's way of programming.
    """

    tolerance_uS: Positive = Field(description="half-width of the window of acceptance")


class CellSpec(Sourced):
    """One memory device: its range of conductance and everything that is wrong with it.

    Units: conductances in uS. An empty list of effects is an ideal cell in that respect. Effects
    act in this order: levels, programming noise, variation, drift, temperature, faults; then each
    read.
    A cell whose range is symmetric around 0 (``g_min_uS = -g_max_uS``, in a ``single-device``
    mapping, with Gaussian or relative noise and nothing else) is no device but the textbook's noisy
    weight; its errors have no bounds.

    Endurance changes programming itself: its spread, and which targets can be reached. Errors and
    drift take a cell below ``g_min_uS``, the lowest target, and above ``g_max_uS``, but
    not beyond ``g_floor_uS`` and ``g_ceiling_uS``.
    """

    technology: Text = Field(description="what the cell is made of, such as PCM or ReRAM")
    g_min_uS: Number = Field(
        description="conductance of the fully off state; below 0 for an idealised signed cell"
    )
    g_max_uS: Positive = Field(description="conductance of the fully on state")
    g_floor_uS: NonNegative | None = Field(
        default=None, description="conductance below which no error takes a cell; null is 0"
    )
    g_ceiling_uS: Positive | None = Field(
        default=None, description="conductance above which no error takes a cell; null is none"
    )
    levels: Annotated[Count, Field(ge=2)] | None = Field(
        default=None, description="states that can be written, evenly spaced; null is any"
    )
    programming_noise: tuple[ProgrammingNoise, ...] = Field(
        default=(), description="errors made once, when the weights are written"
    )
    write_verify: WriteVerify | None = Field(
        default=None, description="acceptance window of programming; null accepts everything"
    )
    endurance: Endurance | None = Field(
        default=None, description="what writing many times has done to the cell; null is nothing"
    )
    variation: tuple[Variation, ...] = Field(
        default=(), description="what cells that lie close together have in common"
    )
    faults: tuple[Faults, ...] = Field(default=(), description="cells and lines that do not work")
    drift: tuple[Drift, ...] = Field(default=(), description="changes with age")
    temperature: tuple[TemperatureEffect, ...] = Field(
        default=(), description="changes with temperature"
    )
    read_noise: tuple[ReadNoise, ...] = Field(default=(), description="changes with every read")
    iv: IV | None = Field(default=None, description="nonlinear current-voltage law; null is Ohm's")

    @field_validator("g_max_uS")
    @classmethod
    def _above_g_min(cls, g_max: float, info: ValidationInfo) -> float:
        if g_max <= info.data.get("g_min_uS", -math.inf):
            raise ValueError("g_max_uS must be larger than g_min_uS")
        return g_max

    @field_validator("g_floor_uS", "g_ceiling_uS")
    @classmethod
    def _holds_every_target(cls, bound: float | None, info: ValidationInfo) -> float | None:
        low, high = info.data.get("g_min_uS"), info.data.get("g_max_uS")
        if bound is None or low is None or high is None:
            return bound
        if low < 0:
            raise ValueError("an idealised signed cell (g_min_uS below 0) has no bounds")
        if info.field_name == "g_floor_uS" and bound > low:
            raise ValueError(f"must be at most g_min_uS, the lowest target, which is {low:g}")
        if info.field_name == "g_ceiling_uS" and bound < high:
            raise ValueError(f"must be at least g_max_uS, the highest target, which is {high:g}")
        return bound

    @field_validator("programming_noise", "variation", "drift", "temperature", "read_noise", "iv")
    @classmethod
    def _stays_finite(cls, effects: Any, info: ValidationInfo) -> Any:
        low, high = info.data.get("g_min_uS"), info.data.get("g_max_uS")
        for effect in effects if isinstance(effects, tuple) else (effects,):
            if effect is not None and low is not None and high is not None:
                refuse_too_large(effect, max(abs(low), high))
        return effects

    @field_validator("endurance")
    @classmethod
    def _wears_out_this_cell(
        cls, endurance: Endurance | None, info: ValidationInfo
    ) -> Endurance | None:
        low, high = info.data.get("g_min_uS"), info.data.get("g_max_uS")
        if endurance is None or low is None or high is None:
            return endurance
        for name in ("g_low_uS", "g_high_uS"):
            if any(not low <= edge <= high for edge in getattr(endurance, name)):
                raise ValueError(
                    f"'{name}' must lie between g_min_uS and g_max_uS, the targets of a fresh "
                    f"cell, which are {low:g} and {high:g}"
                )
        edges = endurance.g_low_uS or endurance.g_high_uS
        if not edges and not info.data.get("programming_noise", True):
            raise ValueError("there is no programming noise whose spread could grow")
        if endurance.strength * max(endurance.spread_factor) > _LARGEST_WIDENING:
            raise ValueError(
                f"the spread of programming would grow more than {_LARGEST_WIDENING:g} times; "
                "check 'spread_factor' and 'strength'"
            )
        return endurance

    @property
    def signed(self) -> bool:
        """Whether this is the textbook's idealised cell, which holds weights of either sign."""
        return self.g_min_uS < 0

    @property
    def bounds_uS(self) -> tuple[float, float]:
        """The conductances between which errors leave a cell; a signed cell has none."""
        if self.signed:
            return -math.inf, math.inf
        return self.g_floor_uS or 0.0, math.inf if self.g_ceiling_uS is None else self.g_ceiling_uS

    @field_validator("write_verify")
    @classmethod
    def _has_something_to_verify(
        cls, window: WriteVerify | None, info: ValidationInfo
    ) -> WriteVerify | None:
        if window is not None and not info.data.get("programming_noise", True):
            raise ValueError("there is no programming noise that a window could cut off")
        return window


class ArraySpec(Sourced):
    """One tile: a crossbar of cells, how weights lie on it, and what is done to its sums digitally.

    Mapping: a ``differential-pair`` holds a weight on two cells whose currents are subtracted; an
    ``offset-column`` holds it on one cell around the middle of the range and subtracts the current
    of one more column of middle cells per tile; a ``single-device`` does the same and subtracts the
    middle digitally, exactly; an ``offset-current`` subtracts the current of exact middle cells
    before the ADC, whose range then holds the signal alone. ``slices`` cells per weight hold the
    digits of a number in base ``cell.levels``, each in a column of its own, which are added up
    digitally.

    With ``sensing: voltage``, a column floats to the mean of its inputs by conductance, and that
    voltage is converted:

        V = sum_r x_r (G+ - G-) / sum_r (G+ + G-),    result = V * sum_r (G+ + G-) of the targets

    so that every column fills the ADC's range alike, and a drift that all cells share cancels. The
    sum in the denominator is that of all cells of the column, and without read noise. Source: W.
    Wan et al., Nature 608, 504 (2022).

    Drift compensation multiplies by one factor (``global``: per layer, ``per-column``: for each
    column of each tile) that undoes the mean loss of conductance since programming. It is found
    from the true conductances (``exact``) or by reading ``probe_vectors`` random inputs through the
    read noise, once fresh and once aged (``measured``).
    """

    rows: Count = Field(description="inputs of one tile")
    columns: Count = Field(description="outputs of one tile")
    row_split: Literal["even", "fill"] = Field(
        default="even",
        description="a layer's rows dealt out evenly over its tiles, or tile after tile filled",
    )
    mapping: Literal["differential-pair", "offset-column", "single-device", "offset-current"] = (
        Field(default="differential-pair", description="how a signed weight lies on cells")
    )
    pairs: Pairs | None = Field(
        default=None, description="several pairs of cells for each weight; null is one pair"
    )
    slices: Annotated[Count, Field(le=16)] = Field(
        default=1, description="cells (or pairs) that share the digits of one weight"
    )
    sensing: Literal["current", "voltage"] = Field(
        default="current", description="what of a column is converted"
    )
    weight_scale: Literal["column", "tile", "layer"] = Field(
        default="column", description="weights that share the digital scale of their largest"
    )
    drift_compensation: Literal["global", "per-column", "none"] = Field(
        default="none", description="digital factor against the mean drift"
    )
    drift_probe: Literal["exact", "measured"] = Field(
        default="exact", description="how the mean drift is known"
    )
    probe_vectors: Count = Field(default=16, description="inputs of a measured drift probe")

    @field_validator("pairs")
    @classmethod
    def _pairs_are_of_cells(cls, pairs: Pairs | None, info: ValidationInfo) -> Pairs | None:
        if pairs is not None and info.data.get("mapping") != "differential-pair":
            raise ValueError("only the mapping 'differential-pair' has pairs of cells")
        return pairs

    @field_validator("sensing")
    @classmethod
    def _pairs_have_a_mean(cls, sensing: str, info: ValidationInfo) -> str:
        if sensing == "voltage" and info.data.get("mapping") != "differential-pair":
            raise ValueError("a voltage is read with the mapping 'differential-pair' only")
        return sensing

    @field_validator("slices")
    @classmethod
    def _slices_or_pairs(cls, slices: int, info: ValidationInfo) -> int:
        if slices > 1 and info.data.get("pairs") is not None:
            raise ValueError("a weight lies on several pairs or in several slices, not both")
        return slices

    @field_validator("drift_probe")
    @classmethod
    def _serves_a_compensation(cls, probe: str, info: ValidationInfo) -> str:
        if probe == "measured" and info.data.get("drift_compensation") == "none":
            raise ValueError(
                "there is no drift compensation that a probe could serve; set 'drift_compensation'"
            )
        return probe
