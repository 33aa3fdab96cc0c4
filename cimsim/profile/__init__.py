"""Device profiles: numbers, units and sources of a chip in one typed object.

>>> from cimsim.profile import load_profile
>>> load_profile("pcm-ibm-2020", ["adc.bits=6"]).adc.bits
6
"""

from cimsim.profile.curves import CappedPower, ClippedLog
from cimsim.profile.describe import DescribedSection, Row, describe
from cimsim.profile.drift import Drift, PowerLawDrift, TabulatedSpread
from cimsim.profile.effect import Effect
from cimsim.profile.export import dump_profile, profile_schema
from cimsim.profile.faults import Fault, ProfileError
from cimsim.profile.library import profile_names, profile_path
from cimsim.profile.loader import load_profile, validate_file
from cimsim.profile.model import Profile
from cimsim.profile.overrides import override_profile
from cimsim.profile.programming_noise import (
    GaussianProgrammingNoise,
    PolynomialProgrammingNoise,
    ProgrammingNoise,
)
from cimsim.profile.read_noise import GaussianReadNoise, OneOverFReadNoise, ReadNoise
from cimsim.profile.sections import ADC, DAC, Array, Cell

__all__ = [
    "ADC",
    "DAC",
    "Array",
    "CappedPower",
    "Cell",
    "ClippedLog",
    "DescribedSection",
    "Drift",
    "Effect",
    "Fault",
    "GaussianProgrammingNoise",
    "GaussianReadNoise",
    "OneOverFReadNoise",
    "PolynomialProgrammingNoise",
    "PowerLawDrift",
    "Profile",
    "ProfileError",
    "ProgrammingNoise",
    "ReadNoise",
    "Row",
    "TabulatedSpread",
    "describe",
    "dump_profile",
    "load_profile",
    "override_profile",
    "profile_names",
    "profile_path",
    "profile_schema",
    "validate_file",
]
