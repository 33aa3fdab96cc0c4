"""Everything public is found by tab completion."""

from __future__ import annotations

import subprocess
import sys

import pytest

import cimsim.analysis


def test_a_cost_is_found_from_the_top() -> None:
    code = "import cimsim; print(cimsim.analysis.cost.cost_of.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "cost_of", done.stderr


@pytest.mark.parametrize(
    "package", [cimsim.analysis, cimsim.analysis.cost, cimsim.analysis.figures]
)
def test_every_listed_name_is_there(package: object) -> None:
    names = dir(package)
    assert len(names) > 5
    for name in names:
        assert getattr(package, name) is not None


def test_every_study_and_its_result_are_listed() -> None:
    for study in cimsim.analysis.STUDIES:
        assert study.result.__name__ in {*dir(cimsim.analysis), *dir(cimsim.analysis.cost)}
