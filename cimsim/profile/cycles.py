"""What of an error belongs to the device, and what to the act of writing."""

from __future__ import annotations

from pydantic import Field

from cimsim.profile.effect import Effect
from cimsim.profile.fields import Fraction

SHARE = "share of the spread's variance that stays when the chip is written again"


class WrittenEffect(Effect):
    """An error of a cell that is drawn when the cell is written.

        xi = sqrt(device_share) d + sqrt(1 - device_share) c
        d ~ N(0, 1), once per chip (device to device)
        c ~ N(0, 1), once per write cycle (cycle to cycle)

    So ``xi`` has a variance of 1, and ``device_share`` is the correlation of a cell's errors in two
    write cycles of the same chip. ``cimsim.program(model, seed, cycle)`` names the cycle; cycle 0
    draws the same numbers for every share. Neither holds under ``cell.write_verify``, whose window
    cuts the two parts off in different ways. Units: the share has none.
    Source: the decomposition of a variance into that between and that within devices.
    """

    device_share: Fraction = Field(default=0.0, description=SHARE)
