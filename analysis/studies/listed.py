"""The list of studies."""

from typing import Any

from cimsim.analysis.cost.result import STUDY as COST
from cimsim.analysis.studies.adapt import STUDY as ADAPT
from cimsim.analysis.studies.advise import STUDY as ADVICE
from cimsim.analysis.studies.budget import STUDY as BUDGET
from cimsim.analysis.studies.chip_yield import STUDY as YIELD
from cimsim.analysis.studies.explore import STUDY as EXPLORE
from cimsim.analysis.studies.heat_map import STUDY as MAP
from cimsim.analysis.studies.life import STUDY as LIFE
from cimsim.analysis.studies.sensitivity import STUDY as SENSITIVITY
from cimsim.analysis.studies.shapley import STUDY as SHAPLEY
from cimsim.analysis.studies.tolerance import STUDY as TOLERANCE
from cimsim.analysis.studies.waterfall import STUDY as WATERFALL
from cimsim.analysis.study import Study

STUDIES: list[Study[Any]] = [
    TOLERANCE,
    MAP,
    BUDGET,
    WATERFALL,
    SHAPLEY,
    SENSITIVITY,
    ADVICE,
    LIFE,
    ADAPT,
    YIELD,
    COST,
    EXPLORE,
]
"""Every study, in the order of the sections of a report."""
