"""One non-ideality after another."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from cimsim.analysis.evaluation import Evaluation
from cimsim.analysis.shown import write_result
from cimsim.analysis.studies.effects import physical_order, variant_with
from cimsim.analysis.studies.waterfall import STUDY, waterfall
from cimsim.errors import CimsimError
from cimsim.profile import load_profile, non_idealities, only
from cimsim.profile.library import profile_names
from cimsim.runs import RunSubject
from cimsim.training.run import Run


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Run:
    return Run.open(shutil.copytree(trained, tmp_path / "run"))


def test_the_order_is_that_of_the_signal() -> None:
    pcm = load_profile("pcm-ibm-2020")
    assert physical_order(non_idealities(pcm)) == [
        "cell.programming_noise.state-dependent",
        "cell.drift.power-law",
        "dac.bits",
        "cell.read_noise.one-over-f",
        "adc.bits",
    ]
    names = [
        *("adc.noise_of_range", "adc.errors.gain", "wires", "cell.iv", "cell.faults.0"),
        *("cell.temperature.linear", "dac.errors.bow", "cell.levels"),
    ]
    assert physical_order(names) == [
        *("cell.levels", "cell.temperature.linear", "cell.faults.0", "wires", "dac.errors.bow"),
        *("cell.iv", "adc.errors.gain", "adc.noise_of_range"),
    ]


@pytest.mark.parametrize("name", profile_names())
def test_every_non_ideality_of_every_device_has_its_place(name: str) -> None:
    names = non_idealities(load_profile(name))
    assert sorted(physical_order(names)) == sorted(names)


def test_a_device_has_one_name() -> None:
    names = ["a", "b", "c"]
    assert variant_with(names, []) == "nothing"
    assert variant_with(names, ["c", "a", "b"]) == "everything"
    assert variant_with(names, ["c"]) == "only c"
    assert variant_with(names, ["c", "b"]) == "without a"
    assert variant_with(["a", "b"], ["b"]) == "only b"
    assert variant_with(["a"], ["a"]) == "everything"


def test_steps_add_up_to_the_loss(run: Run) -> None:
    evaluation = Evaluation(chips=2, noise=8.0, age_s=86400.0)
    found = waterfall(RunSubject(run), evaluation)
    assert sum(step.lost.mean for step in found.steps) == pytest.approx(found.lost.mean)
    assert found.nothing.mean - found.steps[-1].after.mean == pytest.approx(found.lost.mean)
    assert found.lost.mean > 0.01
    before = found.nothing.mean
    for step in found.steps:
        assert step.lost.mean == pytest.approx(before - step.after.mean)
        before = step.after.mean
    write_result(run.path, found)
    assert STUDY.read(run.path) == found


def test_it_shares_its_cells_with_a_budget(run: Run) -> None:
    from cimsim.analysis.studies.budget import budget

    budget(RunSubject(run), Evaluation(chips=1))
    told: list[tuple[int, int]] = []
    waterfall(
        RunSubject(run),
        Evaluation(chips=1, progress=lambda done, total, _: told.append((done, total))),
    )
    assert told == [(4, 6), (5, 6), (6, 6)]  # new are two and three together


def test_a_device_with_one_non_ideality_has_one_step(run: Run) -> None:
    one = only(run.profile, ["adc.bits"])
    found = waterfall(RunSubject(run), Evaluation(chips=1, profile=one))
    assert [step.name for step in found.steps] == ["adc.bits"]
    assert found.figure().axes


def test_an_ideal_device_has_no_steps(run: Run) -> None:
    with pytest.raises(CimsimError, match="ideal has no non-idealities"):
        waterfall(RunSubject(run), Evaluation(profile=load_profile("ideal")))


def test_bars_stand_on_each_other(run: Run) -> None:
    found = replace(waterfall(RunSubject(run), Evaluation(chips=2, noise=8.0)))
    figure = found.figure()
    figure.canvas.draw()
    bars = [patch.get_bbox() for patch in figure.axes[0].patches]
    first, last, *steps = bars
    ends = [first.x1]
    for bar, step in zip(steps, found.steps, strict=True):
        change = -100 * step.lost.mean
        assert min(abs(ends[-1] - bar.x0), abs(ends[-1] - bar.x1)) < 1e-9
        ends.append(ends[-1] + change)
    assert ends[-1] == pytest.approx(last.x1)
