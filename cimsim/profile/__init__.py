"""Profiles: numbers, units and sources of a chip in one typed object.

>>> from cimsim.profile import load_profile
>>> load_profile("pcm-ibm-2020", ["adc.bits=6"]).adc.bits
6
"""

from cimsim.profile.aging import (
    AgingEffect,
)
from cimsim.profile.cell_and_array import (
    ArraySpec,
    CellSpec,
    WriteVerify,
)
from cimsim.profile.converters import (
    ADC,
    DAC,
    AdcError,
    Bow,
    Compression,
    FittedCodes,
    FixedRange,
    GainError,
    LearnedRange,
    MeasuredError,
    MinimumErrorRange,
    OffsetError,
    PeakRange,
    PercentileRange,
    PipelineError,
    RampMismatch,
    Range,
    ReadoutTemperature,
    SarMismatch,
    SigmaRange,
    TableCodes,
    UniformCodes,
)
from cimsim.profile.cost import (
    AccumulationCost,
    AdcCost,
    AnalogAccumulation,
    BufferCost,
    CapacitiveDac,
    CellRead,
    CostRates,
    DacCost,
    DigitalAccumulation,
    DigitalCost,
    FigureOfMeritAdc,
    MeasuredAdc,
    MeasuredDac,
    Replication,
    SurveyAdc,
)
from cimsim.profile.curves import (
    AnyCurve,
    CappedPower,
    ClippedLog,
    LogPolynomial,
    Piecewise,
    Polynomial,
    Saturating,
    Table,
)
from cimsim.profile.cycles import (
    WrittenEffect,
)
from cimsim.profile.describe import (
    DescribedSection,
    Row,
    describe,
)
from cimsim.profile.drift import (
    Drift,
    LogRelaxation,
    PowerLawDrift,
    TabulatedDrift,
)
from cimsim.profile.effect import (
    Effect,
)
from cimsim.profile.effect_titles import (
    EffectTitle,
    effect_title,
    effect_titles,
)
from cimsim.profile.endurance import (
    Endurance,
)
from cimsim.profile.export import (
    dump_profile,
    profile_schema,
)
from cimsim.profile.faults import (
    DeadLines,
    FaultMap,
    Faults,
    StuckCells,
)
from cimsim.profile.fingerprint import (
    fingerprint,
)
from cimsim.profile.issues import (
    Issue,
    ProfileError,
)
from cimsim.profile.learned_ranges import (
    CONVERTERS,
    learned_ranges,
    override_in_words,
    refuse_set_ranges,
    require_learnable,
    sets_range,
    with_learned_ranges,
    with_ranges_of_network,
)
from cimsim.profile.library import (
    profile_names,
    profile_path,
    typed_profile,
)
from cimsim.profile.loader import (
    load_profile,
    validate_file,
)
from cimsim.profile.model import (
    Profile,
)
from cimsim.profile.non_idealities import (
    effects,
    non_idealities,
    only,
    without,
)
from cimsim.profile.nonlinearity import (
    IV,
    PolynomialIV,
    PooleFrenkelIV,
    SinhIV,
)
from cimsim.profile.overrides import (
    override_profile,
)
from cimsim.profile.pairs import (
    Pairs,
    WeightTable,
)
from cimsim.profile.programming_noise import (
    GaussianProgrammingNoise,
    ProgrammingNoise,
    RelativeProgrammingNoise,
    StateDependentProgrammingNoise,
)
from cimsim.profile.provenance import least_reliable, provenance_of
from cimsim.profile.read_disturb import (
    ReadDisturb,
)
from cimsim.profile.read_noise import (
    AbsoluteOneOverFReadNoise,
    FlickerReadNoise,
    FlickerTimes,
    GaussianReadNoise,
    OneOverFReadNoise,
    ReadNoise,
    RelativeReadNoise,
    StateDependentReadNoise,
    TelegraphReadNoise,
    ThermalReadNoise,
)
from cimsim.profile.temperature import (
    ArrheniusTemperature,
    LinearTemperature,
    TemperatureEffect,
)
from cimsim.profile.variation import (
    CorrelatedVariation,
    TileVariation,
    Variation,
)
from cimsim.profile.wires import (
    Wires,
)
from cimsim.provenance import PROVENANCES, Provenance

__all__ = [
    "ADC",
    "CONVERTERS",
    "DAC",
    "IV",
    "PROVENANCES",
    "AbsoluteOneOverFReadNoise",
    "AccumulationCost",
    "AdcCost",
    "AdcError",
    "AgingEffect",
    "AnalogAccumulation",
    "AnyCurve",
    "ArraySpec",
    "ArrheniusTemperature",
    "Bow",
    "BufferCost",
    "CapacitiveDac",
    "CappedPower",
    "CellRead",
    "CellSpec",
    "ClippedLog",
    "Compression",
    "CorrelatedVariation",
    "CostRates",
    "DacCost",
    "DeadLines",
    "DescribedSection",
    "DigitalAccumulation",
    "DigitalCost",
    "Drift",
    "Effect",
    "EffectTitle",
    "Endurance",
    "FaultMap",
    "Faults",
    "FigureOfMeritAdc",
    "FittedCodes",
    "FixedRange",
    "FlickerReadNoise",
    "FlickerTimes",
    "GainError",
    "GaussianProgrammingNoise",
    "GaussianReadNoise",
    "Issue",
    "LearnedRange",
    "LinearTemperature",
    "LogPolynomial",
    "LogRelaxation",
    "MeasuredAdc",
    "MeasuredDac",
    "MeasuredError",
    "MinimumErrorRange",
    "OffsetError",
    "OneOverFReadNoise",
    "Pairs",
    "PeakRange",
    "PercentileRange",
    "Piecewise",
    "PipelineError",
    "Polynomial",
    "PolynomialIV",
    "PooleFrenkelIV",
    "PowerLawDrift",
    "Profile",
    "ProfileError",
    "ProgrammingNoise",
    "Provenance",
    "RampMismatch",
    "Range",
    "ReadDisturb",
    "ReadNoise",
    "ReadoutTemperature",
    "RelativeProgrammingNoise",
    "RelativeReadNoise",
    "Replication",
    "Row",
    "SarMismatch",
    "Saturating",
    "SigmaRange",
    "SinhIV",
    "StateDependentProgrammingNoise",
    "StateDependentReadNoise",
    "StuckCells",
    "SurveyAdc",
    "Table",
    "TableCodes",
    "TabulatedDrift",
    "TelegraphReadNoise",
    "TemperatureEffect",
    "ThermalReadNoise",
    "TileVariation",
    "UniformCodes",
    "Variation",
    "WeightTable",
    "Wires",
    "WriteVerify",
    "WrittenEffect",
    "describe",
    "dump_profile",
    "effect_title",
    "effect_titles",
    "effects",
    "fingerprint",
    "learned_ranges",
    "least_reliable",
    "load_profile",
    "non_idealities",
    "only",
    "override_in_words",
    "override_profile",
    "profile_names",
    "profile_path",
    "profile_schema",
    "provenance_of",
    "refuse_set_ranges",
    "require_learnable",
    "sets_range",
    "typed_profile",
    "validate_file",
    "with_learned_ranges",
    "with_ranges_of_network",
    "without",
]
