"""Write the types of functions made from studies: ``python -m cimsim.analysis.stub``."""

from __future__ import annotations

import inspect
from pathlib import Path

from cimsim.files import write_text

STUB = Path(__file__).with_name("functions.pyi")
_TOP = """# Written by `python -m cimsim.analysis.stub`.
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cimsim.analysis.cost import Cost
from cimsim.analysis.evaluation import Progress
from cimsim.analysis.scoring import ScoreFunction
{results}
from cimsim.analysis.study import Study
from cimsim.analysis.subjects import Subject
from cimsim.analysis.sweeps.axis import Axis
from cimsim.analysis.sweeps.result import SweepResult
from cimsim.layer_options import Layers
from cimsim.nn import Assignment
from cimsim.profile import Profile

FUNCTIONS: dict[str, Any]

def functions_of(studies: list[Study[Any]]) -> dict[str, Any]: ...
"""


def stub_text() -> str:
    """The text of ``functions.pyi``."""
    from cimsim.analysis.functions import FUNCTIONS
    from cimsim.analysis.studies import STUDIES

    results = {study.result for study in STUDIES if study.result.__module__.count("studies")}
    lines = sorted(f"from {kind.__module__} import {kind.__name__}" for kind in results)
    parts = [_TOP.format(results="\n".join(lines))]
    for name, function in FUNCTIONS.items():
        signature = inspect.signature(function)
        arguments, keywords = [], False
        for parameter in signature.parameters.values():
            if parameter.kind is parameter.KEYWORD_ONLY and not keywords:
                keywords = True
                arguments.append("*")
            arguments.append(_argument(parameter))
        inner = "".join(f"    {argument},\n" for argument in arguments)
        parts.append(f"def {name}(\n{inner}) -> {signature.return_annotation}: ...\n")
    return "".join(parts)


def _argument(parameter: inspect.Parameter) -> str:
    text = f"{parameter.name}: {parameter.annotation}"
    if parameter.default is parameter.empty:
        return text
    default = repr(parameter.default).replace("'", '"')
    return f"{text} = {default}"


if __name__ == "__main__":
    write_text(STUB, stub_text())
