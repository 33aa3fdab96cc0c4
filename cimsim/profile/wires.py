"""Wires: the resistance of the lines that join cells."""

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
    ``cells: passive`` is a crossbar whose cells always conduct; ``cells: gated`` has transistors
    that connect only the rows whose input is on to a supply line along each column, so it has no
    word line or source resistance. Inputs of gated cells are bits (``dac.bit_serial``), or pulses
    whose duration is the input (``dac.coding: duration``): then rows switch off one after the
    other, and the drop is solved for every set of rows that are on within the read. Passive cells
    are linear, so that the drop adds up over time to what it is for amplitudes.

    ``pairs`` says where the cells of a weight lie: ``apart``, on crossbars of their own;
    ``columns``, on neighboring bit lines of one crossbar, whose word lines carry the currents of
    both; ``rows``, on one bit line and neighboring word lines with inputs of opposite signs, so
    that the line carries the difference of their currents. Read noise is attenuated as the mean
    current is (gated: not at all). Units: ohm.
    Source: Kirchhoff's laws; the resistances are the chip's.
    """

    random: ClassVar[bool] = False

    kind: Literal["nodal"] = "nodal"
    cells: Literal["passive", "gated"] = Field(
        default="passive", description="whether cells always conduct, or are switched by their row"
    )
    pairs: Literal["apart", "columns", "rows"] = Field(
        default="apart", description="where the cells of a weight lie beside each other"
    )
    r_word_ohm: NonNegative = Field(default=0.0, description="word line, per cell")
    r_bit_ohm: NonNegative = Field(default=0.0, description="bit line, per cell")
    r_source_ohm: NonNegative = Field(default=0.0, description="driver of a word line")
    r_sink_ohm: NonNegative = Field(default=0.0, description="read-out of a bit line")

    r_supply_ohm: NonNegative = Field(
        default=0.0, description="supply line of a column of gated cells, per cell"
    )

    @field_validator("pairs")
    @classmethod
    def _gated_columns_stand_alone(cls, pairs: str, info: ValidationInfo) -> str:
        if pairs != "apart" and info.data.get("cells") == "gated":
            raise ValueError("has no effect on gated cells, whose columns have lines of their own")
        return pairs

    @field_validator("r_supply_ohm")
    @classmethod
    def _only_gates_have_supplies(cls, ohm: float, info: ValidationInfo) -> float:
        if ohm and info.data.get("cells") == "passive":
            raise ValueError("has no effect on passive cells, which their word lines supply")
        return ohm

    @field_validator("r_word_ohm", "r_source_ohm")
    @classmethod
    def _gates_draw_no_current(cls, ohm: float, info: ValidationInfo) -> float:
        if ohm and info.data.get("cells") == "gated":
            raise ValueError("has no effect on gated cells, whose word lines carry no current")
        return ohm
