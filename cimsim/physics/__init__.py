"""Cell physics on conductances in µS, from programming to reads."""

from cimsim.physics.cells import aged_uS, at_temperature_uS, programmed_uS
from cimsim.physics.nonlinearity import common_shape, iv_terms
from cimsim.physics.programming import reachable_uS
from cimsim.physics.read_noise import (
    ReadContext,
    read_variance_uS2,
    sampled_reads_uS,
    slow_flicker,
    slow_telegraph_uS,
    telegraph_step_uS,
)
from cimsim.physics.stuck import broken_uS
from cimsim.physics.variation import varied_uS

__all__ = [
    "ReadContext",
    "aged_uS",
    "at_temperature_uS",
    "broken_uS",
    "common_shape",
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
