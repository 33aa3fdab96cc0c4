"""Commands keep results under other conditions beside each other, and reports show all of them."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cimsim.analysis.cost.result import STUDY as COST
from cimsim.analysis.studies import STUDIES
from cimsim.analysis.study import Study
from cimsim.runs import open_run
from cimsim.runs.commands import commands_of
from cimsim.runs.report import report_text

Command = Callable[..., tuple[int, str, str]]
OTHER = "pcm-hermes-2023"  # which ages, as the run's own profile does
LONG = [pytest.param(study, marks=pytest.mark.long) for study in STUDIES if study is not COST]


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained / "digital", tmp_path / "digital")


@pytest.mark.parametrize("study", [COST, *LONG], ids=lambda study: study.name)
def test_a_result_on_another_profile_replaces_none(
    cimsim: Command, run: Path, study: Study[Any]
) -> None:
    _, *words = shlex.split(study.again(str(run)))
    few = () if study is COST else ("--chips", 2)
    for profile in ((), ("--profile", OTHER)):
        code, _, err = cimsim(*words, *few, *profile)
        assert code == 0, err
    own, other = sorted(
        (study.read_file(path, run) for path in study.paths(run)),
        key=lambda result: len(result.conditions),
    )
    assert own.conditions != other.conditions
    assert OTHER in other.conditions
    assert OTHER not in own.conditions
    assert {f"{own.file}.json", f"{other.file}.json"} == {
        path.relative_to(run).as_posix() for path in study.paths(run)
    }
    page = report_text([open_run(run)])
    for result in (own, other):
        assert result.conditions == () or ", ".join(result.conditions) in page
        assert page.count(result.sheet().caption.split(",")[0]) >= 2
    ours = [text for text in commands_of(open_run(run)) if f" {study.command} " in text]
    assert len(ours) == 2
    assert sum(f"--profile {OTHER}" in text for text in ours) == 1
