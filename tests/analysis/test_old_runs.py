"""A finished run of version 0.1.0, of which every study was made: it opens, resumes and reports."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest

import cimsim
from cimsim import computation
from cimsim.analysis.evaluation import Evaluation
from cimsim.analysis.shown import as_json
from cimsim.analysis.studies import STUDIES
from cimsim.analysis.studies.budget import budget
from cimsim.analysis.studies.life import life
from cimsim.analysis.studies.sensitivity import sensitivity
from cimsim.analysis.sweeps.axis import parse_axis
from cimsim.analysis.sweeps.store import read_sweep, sweep_folder, swept_axes
from cimsim.runs import open_run
from cimsim.runs.commands import commands_of
from cimsim.runs.report import report_text
from cimsim.sealing import sealed, unsealed

FIXTURE = Path(__file__).parents[1] / "fixtures" / "run-0.1.0"
OLD = [study for study in STUDIES if study.name != "adapt"]  # 0.1.0 had no adaptation


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy, to be evaluated as by its version: trials of another one are evaluated again."""
    monkeypatch.setattr(cimsim, "__version__", "0.1.0")
    monkeypatch.setattr(computation, "COMPUTATION", 0)
    return shutil.copytree(FIXTURE, tmp_path / "run-0.1.0")


def progress_of(calls: list[tuple[int, int]], **settings: object) -> Evaluation:
    def progress(done: int, total: int, doing: str) -> None:
        calls.append((done, total))

    return Evaluation(progress=progress, **settings)  # type: ignore[arg-type]


def test_a_sweep_is_resumed_and_nothing_is_evaluated_again(run: Path) -> None:
    calls: list[tuple[int, int]] = []
    before = read_sweep(sweep_folder(run, "noise"))
    lines = (run / "sweeps" / "noise" / "results.jsonl").read_bytes()
    after = progress_of(calls, chips=2).sweep(open_run(run), parse_axis("noise=0,1"))
    assert calls == [(4, 4)]
    assert after.trials == before.trials
    assert after.plan.digital == before.plan.digital == open_run(run).run.digital_accuracy
    assert (run / "sweeps" / "noise" / "results.jsonl").read_bytes() == lines
    assert read_sweep(sweep_folder(run, "noise")) == after


def test_studies_are_resumed_to_the_same_numbers(run: Path) -> None:
    from cimsim.analysis.studies.budget import STUDY as BUDGET
    from cimsim.analysis.studies.life import STUDY as LIFE
    from cimsim.analysis.studies.sensitivity import STUDY as SENSITIVITY

    subject, calls = open_run(run), list[tuple[int, int]]()
    watched = progress_of(calls, chips=1, age_s=60.0, noise=3.0)
    assert as_json(budget(subject, watched)) == as_json(BUDGET.read(run))
    aged = life(subject, progress_of(calls, chips=2), 60.0, 315_576_000.0, 2)
    assert as_json(aged) == as_json(LIFE.read(run))
    few = progress_of(calls, chips=2, samples=100, noise=6.0)
    again, before = sensitivity(subject, few), SENSITIVITY.read(run)
    assert [each.lost for each in again.layers] == [each.lost for each in before.layers]
    assert again.facts == before.facts
    assert all(done == total for done, total in calls)
    assert len(calls) == 3


@pytest.mark.parametrize("study", OLD, ids=lambda study: study.name)
def test_every_result_is_read(study, run: Path) -> None:  # type: ignore[no-untyped-def]
    (path,) = study.paths(run)
    result = study.read_file(path, run)
    old = unsealed(json.loads(path.read_text()))
    numbers = [Counter(re.findall(r"-?\d+\.\d+", text)) for text in (str(old), as_json(result))]
    assert not numbers[0] - numbers[1] - Counter({"0.0": 99, "1.0": 99})
    assert result.sheet().rows
    assert open_run(run).fingerprint in (result.fingerprints or open_run(run).fingerprint)


def test_an_old_distance_in_the_unit_of_a_metric_is_a_percentage_now(run: Path) -> None:
    from cimsim.analysis.studies.advise import STUDY

    for path in (run / "advice" / "sweep.json", run / "advice" / "advice.json"):
        fields = dict(unsealed(json.loads(path.read_text())))
        path.write_text(json.dumps(sealed({**fields, "metric": "perplexity"})))
    advice = STUDY.read(run)
    digital = math.exp(2.0677105440837336)
    assert advice.facts.digital == pytest.approx(digital)
    assert advice.options().within == pytest.approx(100 * 0.08 / digital)


def test_the_report_shows_all_of_it(run: Path) -> None:
    page = report_text([open_run(run)])
    assert "cannot be shown" not in page
    assert re.findall("<li>.*?<code>cimsim (\\w+)", page.partition("Not measured yet")[2]) == [
        "adapt"
    ]
    for study in OLD:
        assert study.caption in page
    assert swept_axes(run) == ["adc.bits", "noise"]


def test_the_commands_are_those_that_made_it(run: Path) -> None:
    commands = [text.replace(str(run), "RUN") for text in commands_of(open_run(run))]
    assert commands == [
        "cimsim train --profile pcm-ibm-2020 --epochs 1 --noise 2.0 --clip-sigma 1.5 --device cpu "
        "--out RUN",
        "cimsim sweep RUN --over adc.bits=2,3,4,6 --chips 2 --device cpu",
        "cimsim sweep RUN --over noise=0,1 --chips 2 --device cpu",
        "cimsim tolerance RUN --over adc.bits --within 5 --from 2 --to 6 --chips 2",
        "cimsim map RUN --x noise=0,6 --y adc.bits=3,ideal --lines 63.44444444444445,"
        "59.44444444444444 --chips 2 --age 1h",
        "cimsim budget RUN --chips 1 --age 1min --noise 3",
        "cimsim budget RUN --waterfall --chips 1 --age 0s",
        "cimsim budget RUN --shapley --orders 2 --chips 1 --age 1d",
        "cimsim sensitivity RUN --chips 2 --noise 6 --samples 100",
        "cimsim advise RUN --within 8 --bits 2 --by parameters --chips 2 --noise 6 --samples 100",
        "cimsim life RUN --from 1min --to 10y --points 2 --chips 2",
        "cimsim yield RUN --above 50 --chips 4 --age 1d --noise 4",
        "cimsim cost RUN --set adc.bits=6 --inputs 3",
        "cimsim explore RUN --over adc.bits=4,6 --profile pcm-ibm-2020 --profile "
        "pcm-hermes-2023 --budget 4 --chips 1 --final-chips 2 --cost energy --seed 0",
    ]
