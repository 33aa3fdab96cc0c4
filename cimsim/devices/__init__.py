"""Cell physics on conductances in µS: from programming to a read. One idea per file."""

from cimsim.devices.cells import aged_uS, at_temperature_uS, programmed_uS
from cimsim.devices.nonlinearity import iv_terms
from cimsim.devices.programming import reachable_uS
from cimsim.devices.read_noise import (
    read_variance_uS2,
    sampled_reads_uS,
    slow_flicker,
    slow_telegraph_uS,
    telegraph_step_uS,
)
from cimsim.devices.stuck import broken_uS
from cimsim.devices.variation import varied_uS

__all__ = [
    "aged_uS",
    "at_temperature_uS",
    "broken_uS",
    "iv_terms",
    "programmed_uS",
    "reachable_uS",
    "read_variance_uS2",
    "sampled_reads_uS",
    "slow_flicker",
    "slow_telegraph_uS",
    "telegraph_step_uS",
    "varied_uS",
]
