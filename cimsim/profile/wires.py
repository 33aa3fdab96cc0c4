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
    end through the sink's; every segment between neighbouring cells has the wire's resistance.
    ``cells: passive`` is a crossbar whose cells always conduct; ``cells: gated`` has transistors
    that connect only the rows whose input bit is one to a supply line along each column, so it
    needs bit-serial inputs, and knows no word line or source resistance. Positive and negative
    cells of a pair lie on crossbars of their own. Read noise is attenuated as the mean current is
    (gated: not at all). Units: ohm.
    Source: Kirchhoff's laws; the resistances are the chip's.
    """

    random: ClassVar[bool] = False

    kind: Literal["nodal"] = "nodal"
    cells: Literal["passive", "gated"] = Field(
        default="passive", description="whether cells always conduct, or are switched by their row"
    )
    r_word_ohm: NonNegative = Field(default=0.0, description="word line, per cell")
    r_bit_ohm: NonNegative = Field(default=0.0, description="bit line, per cell")
    r_source_ohm: NonNegative = Field(default=0.0, description="driver of a word line")
    r_sink_ohm: NonNegative = Field(default=0.0, description="read-out of a bit line")

    r_supply_ohm: NonNegative = Field(
        default=0.0, description="supply line of a column of gated cells, per cell"
    )

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
