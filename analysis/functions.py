"""Sweeps, studies and costs of models in one call each: ``cimsim.sweep``, ``cimsim.budget``, ….

Each study has a function, made from its descriptor. Their types are in ``functions.pyi``, which
``python -m cimsim.analysis.stub`` writes.
"""

from __future__ import annotations

from typing import Any

from cimsim.analysis import calls
from cimsim.analysis.studies import STUDIES
from cimsim.analysis.study import Study


def functions_of(studies: list[Study[Any]]) -> dict[str, Any]:
    """The functions of studies by name."""
    functions = {}
    for study in studies:
        if study.run is not None:
            results = [other.result for other in studies if other.command == study.command]
            functions[study.function] = calls.study_function(study, results)
    return functions


FUNCTIONS: dict[str, Any] = {
    "sweep": calls.sweep_function(),
    **functions_of(STUDIES),
    "cost": calls.cost,
}
globals().update(FUNCTIONS)
