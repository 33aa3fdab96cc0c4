"""Wires: the resistance of the lines between cells."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from cimsim.profile.effect import Effect
from cimsim.profile.fields import NonNegative


class Wires(Effect):
    """Resistive word and bit lines (IR drop), solved exactly.

        currents = V G_eff,    G_eff of the resistor network of one tile

    A word line is driven at one end through the source's resistance, a bit line is grounded at one
    end through the sink's; every segment between neighboring cells has the wire's resistance.
    ``cells: passive`` is a crossbar whose cells always conduct. With ``cells: gated``, transistors
    connect the rows whose input is on to a supply line along each column, so there is no word line
    or source resistance. Inputs of gated cells are bits (``dac.bit_serial``), or pulses whose
    duration is the input (``dac.coding: duration``): rows then switch off one after another, and
    the drop is solved for every set of rows that are on during the read. Passive cells are linear,
    so that duration coding gives the same integrated drop as amplitude coding.

    ``pairs`` is the placement of the cells of a weight: ``apart``, on separate crossbars;
    ``columns``, on neighboring bit lines of one crossbar, whose word lines carry the currents of
    both; ``rows``, on one bit line and neighboring word lines with inputs of opposite signs, so
    that the bit line carries the difference of their currents. Read noise is attenuated like the
    mean current (gated: not at all). Units: ohm.
    Source: Kirchhoff's laws; the resistances come from the chip.
    """

    random: ClassVar[bool] = False
    title: ClassVar[str] = "wire resistance"

    kind: Literal["nodal"] = "nodal"
    cells: Literal["passive", "gated"] = Field(
        default="passive", description="cells that always conduct, or that their row switches"
    )
    pairs: Literal["apart", "columns", "rows"] = Field(
        default="apart", description="placement of the cells of a weight"
    )
    r_word_ohm: NonNegative = Field(
        default=0.0, description="resistance of the word line, per cell"
    )
    r_bit_ohm: NonNegative = Field(default=0.0, description="resistance of the bit line, per cell")
    r_source_ohm: NonNegative = Field(
        default=0.0, description="resistance of the driver of a word line"
    )
    r_sink_ohm: NonNegative = Field(
        default=0.0, description="resistance of the readout of a bit line"
    )

    r_supply_ohm: NonNegative = Field(
        default=0.0,
        description="resistance of the supply line of a column of gated cells, per cell",
    )

    @field_validator("pairs")
    @classmethod
    def _gated_columns_stand_alone(cls, pairs: str, info: ValidationInfo) -> str:
        if pairs != "apart" and info.data.get("cells") == "gated":
            raise ValueError("has no effect on gated cells, whose columns have separate lines")
        return pairs

    @field_validator("r_supply_ohm")
    @classmethod
    def _only_gates_have_supplies(cls, ohm: float, info: ValidationInfo) -> float:
        if ohm and info.data.get("cells") == "passive":
            raise ValueError(
                "has no effect on passive cells, which draw their current from word lines"
            )
        return ohm

    @field_validator("r_word_ohm", "r_source_ohm")
    @classmethod
    def _gates_draw_no_current(cls, ohm: float, info: ValidationInfo) -> float:
        if ohm and info.data.get("cells") == "gated":
            raise ValueError("has no effect on gated cells, whose word lines carry no current")
        return ohm
