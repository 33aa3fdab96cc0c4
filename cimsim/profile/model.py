"""The profile: a typed, frozen description of a chip."""

from __future__ import annotations

import math
from html import escape

from pydantic import Field, ValidationInfo, field_validator

from cimsim.errors import CimsimError
from cimsim.markup import folded, table
from cimsim.profile.base import Section
from cimsim.profile.cell_and_array import ArraySpec, CellSpec
from cimsim.profile.converters import ADC, DAC
from cimsim.profile.cost import CostRates
from cimsim.profile.effect import effects_in, map_effects
from cimsim.profile.faults import FaultMap
from cimsim.profile.fields import Celsius, Paragraph, SchemaVersion, Text
from cimsim.profile.finite import refuse_extreme_temperature
from cimsim.profile.wires import Wires
from cimsim.scalars import number_or_nan


class Profile(Section):
    """One chip technology in numbers, each with a unit in its name and a source."""

    schema_version: SchemaVersion = Field(description="version of this file format")
    name: Text = Field(description="short name, equal to the file's")
    title: Text = Field(description="one-line title")
    description: Paragraph = Field(
        default="", description="modeled effects, omitted effects, and the valid range"
    )
    sources: dict[str, Text] = Field(
        default_factory=dict, description="cited works: key and full citation"
    )
    temperature_C: Celsius = Field(default=25.0, description="operating temperature")
    cell: CellSpec = Field(description="the memory cell")
    array: ArraySpec = Field(description="one tile of cells, and its digital sums")
    dac: DAC = Field(description="converters of the inputs")
    adc: ADC = Field(description="converters of the outputs")
    wires: Wires | None = Field(default=None, description="resistance of the lines; null: none")
    cost: CostRates | None = Field(
        default=None,
        description="energy, time and area of the operations, without effect on results; null: "
        "generic numbers",
    )
    overrides: tuple[str, ...] = Field(
        default=(), description="values set by hand when the profile was loaded"
    )

    @classmethod
    def known_keys(cls) -> list[str]:
        """Return the keys of a file: the fields, and ``extends``, which the loader resolves."""
        return [*super().known_keys(), "extends"]

    # Validated field by field, so that every issue is reported, each at its place.

    @field_validator("cell")
    @classmethod
    def _temperature_is_possible(cls, cell: CellSpec, info: ValidationInfo) -> CellSpec:
        celsius = info.data.get("temperature_C")
        if celsius is not None:
            for effect in (*cell.temperature, *cell.drift):
                refuse_extreme_temperature(effect, celsius)
        return cell

    @field_validator("array")
    @classmethod
    def _slices_have_digits(cls, array: ArraySpec, info: ValidationInfo) -> ArraySpec:
        cell = info.data.get("cell")
        if cell is not None and array.slices > 1 and cell.levels is None:
            raise ValueError("'slices' above 1 requires 'cell.levels', the base of the digits")
        return array

    @field_validator("array")
    @classmethod
    def _signed_cells_are_ideals(cls, array: ArraySpec, info: ValidationInfo) -> ArraySpec:
        cell = info.data.get("cell")
        if cell is None or not cell.signed:
            return array
        if (
            array.mapping != "single-device"
            or cell.g_min_uS != -cell.g_max_uS
            or cell.levels is not None
            or not all(effect.allows_signed_cells for effect in effects_in(cell))
        ):
            raise ValueError(
                "'cell.g_min_uS' below 0 selects an idealized signed cell, which requires "
                "g_min_uS = -g_max_uS, the mapping 'single-device', and only noise that is "
                "gaussian or relative"
            )
        return array

    @field_validator("array")
    @classmethod
    def _fault_maps_fit(cls, array: ArraySpec, info: ValidationInfo) -> ArraySpec:
        cell = info.data.get("cell")
        maps = [] if cell is None else [f for f in cell.faults if isinstance(f, FaultMap)]
        for row, column, device, _ in (entry for fault in maps for entry in fault.cells):
            if row >= array.rows or column >= array.columns or device >= array.devices:
                raise ValueError(
                    f"a fault map names row {row}, column {column}, device {device}, but a tile "
                    f"has {array.rows} rows, {array.columns} columns and, with the mapping "
                    f"'{array.mapping}', {array.devices} "
                    f"{'device' if array.devices == 1 else 'devices'} for a weight, all counted "
                    "from 0"
                )
        return array

    @field_validator("array")
    @classmethod
    def _tables_lie_in_the_range(cls, array: ArraySpec, info: ValidationInfo) -> ArraySpec:
        cell = info.data.get("cell")
        if cell is not None and array.pairs is not None and array.pairs.table is not None:
            given = [g_uS for of_cell in array.pairs.table.g_uS for g_uS in of_cell]
            if min(given) < cell.g_min_uS or max(given) > cell.g_max_uS:
                raise ValueError(
                    f"'pairs.table' must be between g_min_uS and g_max_uS ({cell.g_min_uS:g} and "
                    f"{cell.g_max_uS:g}), but its range is {min(given):g} to {max(given):g} µS"
                )
        return array

    @field_validator("dac")
    @classmethod
    def _voltages_have_a_range(cls, dac: DAC, info: ValidationInfo) -> DAC:
        cell = info.data.get("cell")
        if cell is not None and cell.iv is not None and cell.iv.strength and dac.bits is None:
            raise ValueError(
                "an ideal DAC has no full-scale voltage for 'cell.iv'; set 'bits' to a number, or "
                "remove 'cell.iv'"
            )
        return dac

    @field_validator("adc")
    @classmethod
    def _some_temperature_effect(cls, adc: ADC, info: ValidationInfo) -> ADC:
        cell, celsius = info.data.get("cell"), info.data.get("temperature_C")
        default = cls.model_fields["temperature_C"].default
        if cell is not None and celsius is not None and celsius != default:
            if not any(
                effect.uses_temperature for part in (cell, adc) for effect in effects_in(part)
            ):
                raise ValueError(
                    f"temperature_C is {celsius:g}, but nothing in this profile depends on "
                    "temperature; add 'cell.temperature', or leave temperature_C at 25"
                )
        return adc

    @field_validator("wires")
    @classmethod
    def _gates_take_bits(cls, wires: Wires | None, info: ValidationInfo) -> Wires | None:
        dac = info.data.get("dac")
        gated = wires is not None and wires.cells == "gated" and wires.strength > 0
        if gated and dac is not None and not (dac.bit_serial or dac.coding == "duration"):
            raise ValueError(
                "'cells: gated' requires 'dac.bit_serial: true' or 'dac.coding: duration', because "
                "gated cells are either on or off"
            )
        array = info.data.get("array")
        if array is not None and wires is not None:
            if wires.pairs != "apart" and array.mapping != "differential-pair":
                raise ValueError(
                    f"'pairs: {wires.pairs}' requires the mapping 'differential-pair', not "
                    f"'{array.mapping}'"
                )
            if gated and array.sensing == "voltage":
                raise ValueError("'array.sensing: voltage' requires 'cells: passive'")
        return wires

    def _repr_html_(self) -> str:
        """Return HTML for notebooks: every number with its meaning and source."""
        from cimsim.profile.describe import describe  # imports this module

        about, *sections = describe(self)
        headings = ("key", "value", "meaning", "source")
        parts = [folded(part.heading, table(headings, part.rows)) for part in sections]
        text = " ".join(row.value for row in about.rows)
        return f"<p><strong>{escape(self.name)}</strong>: {escape(text)}</p>{''.join(parts)}"

    def scale_noise(self, factor: float) -> Profile:
        """Return a copy with every random effect multiplied by ``factor``.

        Mean drift, bits and sizes are unchanged. 0 removes all randomness but the inputs of
        ``drift_probe: measured``, 1 changes nothing.

        Raises:
            CimsimError: if ``factor`` is negative or not finite.
        """
        by = number_or_nan(factor)
        if not (math.isfinite(by) and by >= 0):
            raise CimsimError(f"the noise factor must be 0 or more, not {factor!r}")
        scaled = map_effects(self, lambda effect: effect.scale_noise(by))
        return scaled.model_copy(update={"adc": scaled.adc.scale_noise(by)})

    @property
    def has_noise(self) -> bool:
        """Whether chips differ from each other, or reads of a chip: by noise, or by the random
        inputs with which drift is measured."""
        array = self.array
        probes = array.drift_compensation != "none" and array.drift_probe == "measured"
        return (probes and bool(self.cell.drift)) or self.scale_noise(0.0) != self
