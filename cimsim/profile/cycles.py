"""Split of programming errors into device-to-device and cycle-to-cycle parts."""

from __future__ import annotations

from pydantic import Field

from cimsim.profile.effect import Effect
from cimsim.profile.fields import Fraction

SHARE = "share of the spread's variance that is kept when the chip is written again"


class WrittenEffect(Effect):
    """An error of a cell that is sampled when the cell is written.

        xi = sqrt(device_share) d + sqrt(1 - device_share) c
        d ~ N(0, 1), once per chip (device to device)
        c ~ N(0, 1), once per write cycle (cycle to cycle)

    ``xi`` has a variance of 1, and ``device_share`` is the correlation of a cell's errors in two
    write cycles of the same chip. ``cimsim.program(model, seed, cycle)`` selects the cycle; cycle 0
    samples the same numbers for every share. Neither statement holds with ``cell.write_verify``,
    whose window truncates the two parts differently. Units: the share is dimensionless.
    Source: decomposition of a variance into between-device and within-device parts.
    """

    device_share: Fraction = Field(default=0.0, description=SHARE)
