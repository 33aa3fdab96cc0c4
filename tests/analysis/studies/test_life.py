"""The life of a chip: compensations that are exact, what is measured again, files."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

import cimsim
from cimsim.adaptation import Recipe
from cimsim.analysis.evaluation import Evaluation
from cimsim.analysis.shown import write_result
from cimsim.analysis.studies.life import STUDY, Life, ages, drifts, life, measured_again
from cimsim.analysis.sweeps.axis import parse_axis
from cimsim.analysis.sweeps.engine import Evaluator, Task
from cimsim.errors import CimsimError
from cimsim.nn import Assignment, analog_layers
from cimsim.nn.scoring import evaluate
from cimsim.profile import Profile, load_profile
from cimsim.runs import RunSubject
from cimsim.training.config import make_config
from cimsim.training.fit import fit
from cimsim.training.run import Run
from tests.building import ONE_OVER_F, device, gaussian
from tests.subjects import sweep

# All cells alike: g falls as (1 + t / 20 s)^-0.1, to a sixth of it in ten years.
EVENLY = {
    "kind": "power-law",
    "t0_s": 20.0,
    "g_ref_uS": 25.0,
    "nu_mean": {"kind": "polynomial", "coefficients": [0.1]},
    "nu_std": {"kind": "polynomial", "coefficients": [0.0]},
}


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Run:
    return Run.open(shutil.copytree(trained, tmp_path / "run"))


def means(found: Life, name: str) -> list[float]:
    (curve,) = (c for c in found.curves if c.name == name)
    return [point.mean for point in curve.points]


def test_exact_compensation_of_even_drift_is_as_good_as_no_drift(run: Run) -> None:
    """Converters aside, which have fewer codes for smaller currents: they are ideal here."""
    noise = [gaussian(0.02)]
    profile = device(programming=noise, drift=[EVENLY], compensation="global")
    found = life(RunSubject(run), Evaluation(chips=2, profile=profile, metric="loss"), 1.0, 3e8, 4)
    still = device(programming=noise)
    (never,) = sweep([run], parse_axis("noise=1"), 2, profile=still, metric="loss")
    expected = sum(cell.scores["loss"] for cell in never.trials) / 2
    assert means(found, "as in the profile") == pytest.approx([expected] * 4, rel=1e-4)
    assert means(found, "compensated per column") == pytest.approx([expected] * 4, rel=1e-4)
    without = means(found, "without compensation")
    assert without[-1] > 1.05 * expected
    assert [curve.name for curve in found.curves] == [
        "as in the profile",
        "without compensation",
        "compensated per column",
    ]
    assert found.label(found.curves[0]) == "compensated per layer (as in the profile)"


def test_ranges_measured_again_win_back_the_codes_of_the_converter(run: Run) -> None:
    """At a sixth of the currents a 4-bit converter has one or two codes left."""
    profile = device(drift=[EVENLY], compensation="global", adc=4)
    found = life(RunSubject(run), Evaluation(chips=1, profile=profile), 1.0, 3e8, 2)
    old = means(found, "as in the profile")[-1]
    again = means(found, "ranges measured again")
    assert again[-1] > old + 0.02
    # Every current and with it the range is a sixth: the codes are those of a fresh chip.
    assert again[-1] == pytest.approx(again[0], abs=0.02)


def test_a_cell_is_what_the_public_functions_give(run: Run) -> None:
    year = 31557600.0
    found = life(RunSubject(run), Evaluation(chips=1), 3600.0, year, 2)
    model = run.chip_model(run.profile)
    cimsim.age(cimsim.program(model, seed=0), "1y")
    cimsim.nn.recalibrate(model, RunSubject(run).calibration())
    expected = evaluate(model, run.data.test_x, run.data.test_y)
    assert means(found, "ranges measured again")[1] == expected.accuracy
    (swept,) = sweep([run], parse_axis("time=1h,1y"), 1)
    assert means(found, "as in the profile") == [cell.scores["accuracy"] for cell in swept.trials]


def test_what_was_measured_on_a_chip_is_forgotten_with_it(run: Run) -> None:
    plain = Task(0, run.profiles, 0, 3600.0)
    again = Task(0, run.profiles, 0, 3600.0, adaptation=Recipe(("ranges",)))
    evaluator = Evaluator([RunSubject(run)], "cpu")
    first = evaluator.scores(plain)
    changed = evaluator.scores(again)
    assert changed != first
    assert evaluator.scores(plain) == first
    assert evaluator.scores(again) == changed


def normed(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """A network whose every layer has batch normalization."""
    torch.manual_seed(0)
    inputs = 1
    for size in input_shape:
        inputs *= size
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(inputs, 32),
        nn.BatchNorm1d(32),
        nn.ReLU(),
        nn.Linear(32, classes),
        nn.BatchNorm1d(classes),
    )


def test_statistics_measured_again_undo_even_drift(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cimsim.training.run.build_model", lambda _, *rest: normed(*rest[:2]))
    run = fit(make_config(profile="pcm-ibm-2020", method="digital", epochs=3), tmp_path / "normed")
    profile = device(drift=[EVENLY])
    found = life(RunSubject(run), Evaluation(chips=1, profile=profile, metric="loss"), 1.0, 3e8, 2)
    assert "statistics measured again" in [curve.name for curve in found.curves]
    old = means(found, "as in the profile")
    again = means(found, "statistics measured again")
    # What a norm sees is scaled evenly, so that its output is as before.
    assert old[1] > 1.05 * old[0]
    assert again[1] == pytest.approx(again[0], rel=1e-3)


def test_what_can_be_measured_again() -> None:
    def possible(profile: Profile, norm: bool = False, denoise: float | None = None) -> set[str]:
        layers = [nn.Linear(4, 4), nn.BatchNorm1d(4)] if norm else [nn.Linear(4, 4)]
        model = cimsim.convert(nn.Sequential(*layers), profile, denoise=denoise)
        assert analog_layers(model)
        return set(measured_again(model))

    assert possible(device()) == set()
    assert possible(device(adc=8)) == {"ranges"}
    assert possible(device(dac=8), norm=True) == {"ranges", "statistics"}
    assert possible(device(), denoise=0.01) == {"statistics"}
    hard = load_profile(
        "pcm-ibm-2020", ['adc.range={"kind":"fixed","full_scale":1.0}', "dac.bits=null"]
    )
    assert possible(hard) == set()


def test_without_drift_there_is_nothing_to_compensate(run: Run) -> None:
    flicker = device(read=[ONE_OVER_F], adc=8)
    assert ages(flicker)
    assert not drifts(Assignment(flicker))
    found = life(RunSubject(run), Evaluation(chips=1, profile=flicker), 1.0, 1e6, 2)
    assert [curve.name for curve in found.curves] == ["as in the profile", "ranges measured again"]
    still = device(programming=[gaussian(0.05)], read=[gaussian(0.01)])
    with pytest.raises(CimsimError, match="has neither drift nor read noise that grows"):
        life(RunSubject(run), Evaluation(chips=1, profile=still))


@pytest.mark.parametrize(("start", "stop", "points"), [(0.0, 1.0, 3), (2.0, 1.0, 3), (1.0, 2.0, 1)])
def test_ages_must_make_sense(run: Run, start: float, stop: float, points: int) -> None:
    with pytest.raises(CimsimError, match="a study of the life of chips needs at least 2 ages"):
        life(RunSubject(run), Evaluation(chips=1), start, stop, points)


def test_it_goes_on_and_is_read_again(run: Run) -> None:
    evaluation = Evaluation(chips=1)
    found = life(RunSubject(run), evaluation, 1.0, 315576000.0, 3)
    assert found.ages_s == (1.0, 17640.0, 315576000.0)  # 4.93 h in two digits: 4.9 h
    told: list[tuple[int, int]] = []
    more = Evaluation(chips=2, progress=lambda done, total, _: told.append((done, total)))
    found = life(RunSubject(run), more, 1.0, 315576000.0, 3)
    assert told[0] == (12, 24)
    write_result(run.path, found)
    assert STUDY.read(run.path) == found
    rows = (run.path / "life" / "life.csv").read_text().splitlines()
    assert len(rows) == 1 + 3 * len(found.curves)
    figure = found.figure()
    figure.canvas.draw()
    legends = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert "ranges measured again" in legends


def test_an_adaptation_at_each_age(run: Run) -> None:
    care = ["gain-offset,affine:lr=0.005"]
    found = life(RunSubject(run), Evaluation(chips=1), 60.0, 3e7, 2, care, budget=4)
    name = "adapted: gain-offset + affine:lr=0.005 (4 batches, digital)"
    assert found.curves[-1].name == name
    model = run.chip_model(run.profile)
    cimsim.age(cimsim.program(model, seed=0), 3e7)
    cimsim.adapt(model, RunSubject(run).training(4), care[0], budget=4)
    expected = evaluate(model, run.data.test_x, run.data.test_y)
    assert means(found, name)[1] == expected.accuracy
    assert found.options().care == tuple(care)
    assert found.conditions[-2:] == ("gain-offset,affine:lr=0.005", "budget=4")
    with pytest.raises(CimsimError, match="did you mean 'affine'"):
        life(RunSubject(run), Evaluation(chips=1), care=["afine"])
