"""The sections ``cell`` and ``array`` of a profile."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
)

from cimsim.profile.base import Sourced
from cimsim.profile.drift import Drift
from cimsim.profile.endurance import Endurance
from cimsim.profile.faults import Faults
from cimsim.profile.fields import Count, Index, NonNegative, Number, Positive, Text
from cimsim.profile.finite import refuse_too_large
from cimsim.profile.nonlinearity import IV
from cimsim.profile.pairs import Pairs
from cimsim.profile.programming_noise import ProgrammingNoise
from cimsim.profile.read_noise import ReadNoise
from cimsim.profile.temperature import TemperatureEffect
from cimsim.profile.variation import Variation

_LARGEST_WIDENING = 1e6


class WriteVerify(Sourced):
    """Rewriting of cells until their conductance is close enough to the target.

        |g - g_target| <= tolerance: the error follows its Gaussian, truncated to the window

    With several kinds of programming noise, the window applies to their sum. The part that belongs
    to the cell (``device_share``) acts as an additional mean error of that cell.
    Units: g and tolerance in uS.
    Source: the programming scheme of the chip.
    """

    tolerance_uS: Positive = Field(description="half-width of the acceptance window")


class CellSpec(Sourced):
    """One memory cell: its conductance range and its non-idealities.

    Units: conductances in uS. An empty list of effects is ideal. The order of effects is: levels,
    programming noise, variation, drift, temperature, faults; then, at each read, read noise.
    A cell whose range is symmetric around 0 (``g_min_uS = -g_max_uS``, in a ``single-device``
    mapping, with Gaussian or relative noise and nothing else) models the noisy weight of textbooks,
    not a physical device; its errors are unbounded.

    Endurance changes programming: its spread, and the targets that can be reached. Errors and drift
    can move a cell below ``g_min_uS``, the lowest target, and above ``g_max_uS``, but not beyond
    ``g_floor_uS`` and ``g_ceiling_uS``.
    """

    technology: Text = Field(description="memory technology, such as PCM or ReRAM")
    g_min_uS: Number = Field(
        description="conductance of the fully off state; below 0 for an idealized signed cell"
    )
    g_max_uS: Positive = Field(description="conductance of the fully on state")
    g_floor_uS: NonNegative | None = Field(
        default=None, description="lowest conductance that errors can reach; null: 0"
    )
    g_ceiling_uS: Positive | None = Field(
        default=None, description="highest conductance that errors can reach; null: unlimited"
    )
    levels: Annotated[Count, Field(ge=2)] | None = Field(
        default=None, description="number of evenly spaced states; null: continuous"
    )
    programming_noise: tuple[ProgrammingNoise, ...] = Field(
        default=(), description="errors sampled once, when the weights are written"
    )
    write_verify: WriteVerify | None = Field(
        default=None, description="acceptance window of programming; null: no verification"
    )
    endurance: Endurance | None = Field(
        default=None, description="degradation by earlier write cycles; null: none"
    )
    variation: tuple[Variation, ...] = Field(
        default=(), description="variation that neighboring cells share"
    )
    faults: tuple[Faults, ...] = Field(default=(), description="cells and lines that do not work")
    drift: tuple[Drift, ...] = Field(default=(), description="changes with age")
    temperature: tuple[TemperatureEffect, ...] = Field(
        default=(), description="changes with temperature"
    )
    read_noise: tuple[ReadNoise, ...] = Field(default=(), description="changes with every read")
    iv: IV | None = Field(
        default=None, description="nonlinear current-voltage law; null: Ohm's law"
    )

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
            raise ValueError("an idealized signed cell (g_min_uS below 0) has no bounds; remove it")
        if info.field_name == "g_floor_uS" and bound > low:
            raise ValueError(f"must be at most g_min_uS, the lowest target ({low:g})")
        if info.field_name == "g_ceiling_uS" and bound < high:
            raise ValueError(f"must be at least g_max_uS, the highest target ({high:g})")
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
                    f"'{name}' must be between g_min_uS and g_max_uS, the targets of a fresh "
                    f"cell ({low:g} and {high:g})"
                )
        edges = endurance.g_low_uS or endurance.g_high_uS
        if not edges and not info.data.get("programming_noise", True):
            raise ValueError("there is no programming noise to scale; add 'programming_noise'")
        if endurance.strength * max(endurance.spread_factor) > _LARGEST_WIDENING:
            raise ValueError(
                f"the programming spread would grow by more than {_LARGEST_WIDENING:g} times; "
                "check 'spread_factor' and 'strength'"
            )
        return endurance

    @property
    def signed(self) -> bool:
        """True for the idealized cell of textbooks, which stores weights of either sign."""
        return self.g_min_uS < 0

    @property
    def bounds_uS(self) -> tuple[float, float]:
        """Lowest and highest conductance that errors can reach; infinite for a signed cell."""
        if self.signed:
            return -math.inf, math.inf
        return self.g_floor_uS or 0.0, math.inf if self.g_ceiling_uS is None else self.g_ceiling_uS

    @field_validator("write_verify")
    @classmethod
    def _has_something_to_verify(
        cls, window: WriteVerify | None, info: ValidationInfo
    ) -> WriteVerify | None:
        if window is not None and not info.data.get("programming_noise", True):
            raise ValueError("there is no programming noise to verify; add 'programming_noise'")
        return window


class ArraySpec(Sourced):
    """One tile: a crossbar of cells, the mapping of weights to it, and digital corrections.

    Mapping: a ``differential-pair`` stores a weight in two cells whose currents are subtracted; an
    ``offset-column`` stores it in one cell around the middle of the range and subtracts the current
    of a column of middle cells, the last of each tile; a ``single-device`` does the same and
    subtracts the middle digitally, exactly; an ``offset-current`` subtracts the current of exact
    middle cells before the ADC, whose range then covers only the signal. ``slices`` cells per
    weight store the digits of a number in base ``cell.levels``, each in a separate column; their
    results are added digitally.

    With ``sensing: voltage``, a column settles to the conductance-weighted mean of its inputs, and
    the ADC converts that voltage:

        V = sum_r x_r (G+ - G-) / sum_r (G+ + G-),    result = V * sum_r (G+ + G-) of the targets

    All columns then use the ADC's range equally, and drift that all cells share cancels. The sum in
    the denominator is over all cells of the column, without read noise. Source: W. Wan et al.,
    Nature 608, 504 (2022).

    Drift compensation multiplies by a factor (``global``: one per layer, ``per-column``: one per
    column of each tile) that compensates the mean loss of conductance since programming. The factor
    is computed from the true conductances (``exact``) or estimated by reading ``probe_vectors``
    random inputs with read noise, once fresh and once aged (``measured``).

    A layer has ``spare_columns`` columns in addition to one for each output (of each group of a
    convolution). Their cells are programmed to the weight 0 and are read, but not converted, until
    the part ``fault-mapping`` of :func:`cimsim.adapt` writes the weights of a faulty column there.
    """

    rows: Count = Field(description="inputs of one tile")
    columns: Count = Field(description="outputs of one tile")
    spare_columns: Index = Field(
        default=0,
        description="additional columns of each layer, for the weights of faulty columns",
    )
    row_split: Literal["even", "fill"] = Field(
        default="even",
        description="distribution of a layer's rows: even over its tiles, or tile by tile",
    )
    mapping: Literal["differential-pair", "offset-column", "single-device", "offset-current"] = (
        Field(default="differential-pair", description="mapping of a signed weight to cells")
    )
    pairs: Pairs | None = Field(
        default=None, description="several pairs of cells for each weight; null: one pair"
    )
    slices: Annotated[Count, Field(le=16)] = Field(
        default=1, description="number of cells (or pairs) that store the digits of one weight"
    )
    sensing: Literal["current", "voltage"] = Field(
        default="current", description="column quantity that the ADC converts"
    )
    weight_scale: Literal["column", "tile", "layer"] = Field(
        default="column", description="group of weights that share a digital scale"
    )
    drift_compensation: Literal["global", "per-column", "none"] = Field(
        default="none", description="digital factor that compensates the mean drift"
    )
    drift_probe: Literal["exact", "measured"] = Field(
        default="exact", description="method to estimate the mean drift"
    )
    probe_vectors: Count = Field(
        default=16, description="number of input vectors of a measured drift probe"
    )

    @property
    def weight_columns(self) -> int:
        """Number of columns of a tile that hold weights."""
        return self.columns - (self.mapping == "offset-column")

    @property
    def devices(self) -> int:
        """Number of cells that store one weight, or one of its slices."""
        if self.mapping != "differential-pair":
            return 1
        return 2 if self.pairs is None else 2 * len(self.pairs.significance)

    @model_serializer(mode="wrap")
    def _without_unused(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without ``spare_columns`` if there are none, as before this field existed: what was
        measured with such a profile stays valid."""
        content: dict[str, Any] = serialize(self)
        if not self.spare_columns:
            content.pop("spare_columns", None)
        return content

    @field_validator("mapping")
    @classmethod
    def _a_tile_holds_its_reference(cls, mapping: str, info: ValidationInfo) -> str:
        if mapping == "offset-column" and info.data.get("columns") == 1:
            raise ValueError(
                "'mapping: offset-column' requires tiles of at least 2 columns, one of which is "
                "the reference; increase 'columns'"
            )
        return mapping

    @field_validator("pairs")
    @classmethod
    def _pairs_are_of_cells(cls, pairs: Pairs | None, info: ValidationInfo) -> Pairs | None:
        if pairs is not None and info.data.get("mapping") != "differential-pair":
            raise ValueError("'pairs' requires the mapping 'differential-pair'")
        return pairs

    @field_validator("sensing")
    @classmethod
    def _pairs_have_a_mean(cls, sensing: str, info: ValidationInfo) -> str:
        if sensing == "voltage" and info.data.get("mapping") != "differential-pair":
            raise ValueError("'sensing: voltage' requires the mapping 'differential-pair'")
        return sensing

    @field_validator("slices")
    @classmethod
    def _slices_or_pairs(cls, slices: int, info: ValidationInfo) -> int:
        if slices > 1 and info.data.get("pairs") is not None:
            raise ValueError("a weight has either several pairs or several slices, not both")
        return slices

    @field_validator("drift_probe")
    @classmethod
    def _serves_a_compensation(cls, probe: str, info: ValidationInfo) -> str:
        if probe == "measured" and info.data.get("drift_compensation") == "none":
            raise ValueError(
                "'drift_probe: measured' requires drift compensation; set 'drift_compensation'"
            )
        return probe
