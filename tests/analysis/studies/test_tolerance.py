"""The search for the knee: where it is known, where there is none, and on a real run."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import cimsim
from cimsim.analysis.evaluation import Evaluation
from cimsim.analysis.shown import write_result
from cimsim.analysis.studies.tolerance import STUDY, range_of, tolerance
from cimsim.analysis.sweeps.axis import parse_axis
from cimsim.analysis.sweeps.metric import ACCURACY, METRICS
from cimsim.analysis.sweeps.store import read_sweep, sweep_folder
from cimsim.analysis.sweeps.threshold import Measure, SearchRange, Threshold, search
from cimsim.errors import CimsimError
from cimsim.profile import load_profile
from cimsim.runs import RunSubject
from cimsim.training.run import Run
from tests.subjects import sweep

PERPLEXITY = METRICS["perplexity"]


def made(
    curve: Callable[[float], float], shifts: Sequence[float] = (0.0,)
) -> tuple[Measure, list[float]]:
    """A measurement that needs no chip: every chip is the curve, moved by ``shifts``; and the
    levels that were asked for."""
    asked: list[float] = []

    def measure(levels: Sequence[float]) -> dict[float, list[float]]:
        asked.extend(levels)
        return {level: [curve(level) + shift for shift in shifts] for level in levels}

    return measure, asked


def hinge(level: float) -> float:
    """0.9 up to 2.3, then 0.2 less for every unit: 0.85 at 2.55."""
    return 0.9 - 0.2 * max(0.0, level - 2.3)


def test_the_knee_is_found_and_only_looked_for_where_it_is() -> None:
    measure, asked = made(hinge)
    knee = search(measure, SearchRange(0.0, 4.0), 0.85, ACCURACY)
    assert knee.level == pytest.approx(2.55)
    assert not knee.holds
    assert len(asked) == len(set(asked)) <= 9
    assert max(b for b in knee.levels if b <= 2.55) == 2.5
    assert min(b for b in knee.levels if b >= 2.55) == 2.625


@given(st.floats(0.1, 3.9), st.floats(0.05, 3.0))
def test_a_straight_fall_is_found_exactly(knee: float, slope: float) -> None:
    measure, _ = made(lambda level: -slope * (level - knee))
    assert search(measure, SearchRange(0.0, 4.0), 0.0, ACCURACY).level == pytest.approx(knee)


def test_a_metric_that_rises_fails_from_above() -> None:
    measure, _ = made(lambda level: 20.0 * (1 + 0.01 * level))
    knee = search(measure, SearchRange(0.0, 8.0), 20.0 * 1.05, PERPLEXITY)
    assert knee.level == pytest.approx(5.0)


def test_time_is_searched_in_its_logarithm() -> None:
    measure, asked = made(lambda t: 0.9 - 0.01 * math.log10(t))
    knee = search(measure, SearchRange(1.0, 1e8, log=True), 0.85, ACCURACY)
    assert knee.level == pytest.approx(1e5, rel=1e-4)
    assert {1.0, 100.0, 1e4, 1e6, 1e8} <= set(asked)


def test_bits_are_searched_from_the_many_and_only_whole() -> None:
    """5 bits lose 0.008, 4 bits 0.016: the fewest within 0.01 are 5."""
    measure, asked = made(lambda bits: 0.9 - 0.256 * 2.0**-bits)
    knee = search(measure, SearchRange(2, 16, whole=True), 0.89, ACCURACY)
    assert knee.level == 5
    assert isinstance(knee.level, int)
    assert knee.levels[0] == 16
    assert all(isinstance(level, int) for level in asked)
    assert len(asked) <= 6


def test_it_stops_at_the_first_failure_even_if_later_levels_would_do() -> None:
    dip = {0.0: 0.9, 1.0: 0.9, 2.0: 0.7, 3.0: 0.9, 4.0: 0.85}
    measure, _ = made(lambda level: float(np.interp(level, list(dip), list(dip.values()))))
    assert search(measure, SearchRange(0.0, 4.0), 0.8, ACCURACY).level == pytest.approx(1.5)


def test_nothing_within_and_everything_within() -> None:
    measure, asked = made(hinge)
    nowhere = search(measure, SearchRange(0.0, 4.0), 0.95, ACCURACY)
    assert (nowhere.level, nowhere.holds, len(asked)) == (None, False, 5)
    everywhere = search(measure, SearchRange(0.0, 4.0), 0.1, ACCURACY)
    assert (everywhere.level, everywhere.holds) == (None, True)


def test_a_mean_at_the_limit_but_for_rounding_is_within() -> None:
    """The mean of three times 0.998 is 0.9979999999999999."""
    assert np.mean([0.998] * 3) < 0.998
    x, y = torch.eye(10).repeat(100, 1), torch.arange(10).repeat(100)
    net = nn.Sequential(nn.Linear(10, 10, bias=False))
    with torch.no_grad():
        net[0].weight.copy_(torch.eye(10))
    y[:2] = (y[:2] + 1) % 10
    model = cimsim.convert(net, "ideal")
    found = cimsim.tolerance(model, [(x, y)], over="noise", within=0, chips=3)
    assert found.holds
    assert all(row[-1] for row in found.rows())
    assert set(found.sheet().columns[-1].cells) == {"yes"}


@pytest.mark.parametrize("rounding", [1e-16, 0.0, -1e-16])
def test_the_last_level_is_found_where_its_mean_is_the_limit(rounding: float) -> None:
    measure, asked = made(lambda level: 0.78 + rounding if level <= 2 else 0.9 - 0.1 * level)
    found = search(measure, SearchRange(0.0, 4.0), 0.78, ACCURACY)
    assert found.level == pytest.approx(2.0)
    assert max(asked) - min(asked) == 4.0
    assert 2.125 in asked
    bits, _ = made(lambda bits: 0.78 + rounding if bits >= 5 else 0.5)
    assert search(bits, SearchRange(2, 16, whole=True), 0.78, ACCURACY).level == 5


@pytest.mark.parametrize("nonsense", [math.nan, math.inf])
def test_chips_that_give_nonsense_are_outside(nonsense: float) -> None:
    measure, _ = made(lambda level: 20.0 if level <= 2 else nonsense)
    knee = search(measure, SearchRange(0.0, 4.0), 21.0, PERPLEXITY)
    assert knee.level == pytest.approx(2.0)


def with_chips(knees: Sequence[float]) -> Threshold:
    """Chips whose own knees are known, on straight falls of one slope: the knee of a mean of chips
    is the mean of their knees."""

    def measure(levels: Sequence[float]) -> dict[float, list[float]]:
        return {level: [0.1 * (knee - level) for knee in knees] for level in levels}

    return search(measure, SearchRange(0.0, 4.0), 0.0, ACCURACY, "a name")


def test_the_interval_is_that_of_a_mean() -> None:
    """For a mean the bootstrap's interval is close to the normal one, 1.96 s sqrt((n - 1) / n^2),
    and the same at every call."""
    knees = np.random.default_rng(0).normal(2.0, 0.3, 40)
    found = with_chips(knees.tolist())
    assert found.level == pytest.approx(knees.mean())
    half = 1.96 * knees.std() / math.sqrt(40)
    assert found.low == pytest.approx(knees.mean() - half, abs=0.1 * half)
    assert found.high == pytest.approx(knees.mean() + half, abs=0.1 * half)
    assert found == with_chips(knees.tolist())


def test_chips_are_resampled_whole() -> None:
    """Chips that differ by a constant at all levels: were levels drawn apart from each other, the
    interval would be another."""
    found = with_chips([1.0, 3.0])
    assert found.level == pytest.approx(2.0)
    assert (found.low, found.high) == (pytest.approx(1.0), pytest.approx(3.0))


def test_one_chip_has_no_interval_and_an_open_end_is_none() -> None:
    alone = with_chips([2.0])
    assert (alone.low, alone.high) == (None, None)
    open_ended = with_chips([1.0, 9.0, 3.0, 1.0])
    assert open_ended.level == pytest.approx(3.5)
    assert open_ended.low is not None
    assert open_ended.high is None


def test_the_interval_of_bits_is_in_the_order_of_numbers() -> None:
    fewest = (4, 5, 5, 6, 5, 4, 6, 5)

    def measure(levels: Sequence[float]) -> dict[float, list[float]]:
        return {bits: [0.9 - 0.1 * (bits < least) for least in fewest] for bits in levels}

    knee = search(measure, SearchRange(2, 10, whole=True), 0.85, ACCURACY)
    assert knee.level == 5  # of 4 bits only a quarter of the chips is satisfied
    assert knee.low is not None
    assert knee.high is not None
    assert 4 <= knee.low <= 5 <= knee.high <= 6


def test_spans() -> None:
    pcm = load_profile("pcm-ibm-2020")
    assert range_of("noise", None, None, pcm) == SearchRange(0.0, 4.0)
    assert range_of("adc.bits", None, None, pcm) == SearchRange(2, 10, whole=True)
    assert range_of("time", "1h", "1d", pcm) == SearchRange(3600.0, 86400.0, log=True)
    assert range_of("cell.drift.0.strength", "0", "3", pcm) == SearchRange(0.0, 3.0)
    assert range_of("array.rows", "64", "512", pcm).whole
    for key, start, stop, text in (
        ("cell.drift.0.strength", None, "3", r"--from LEVEL --to LEVEL"),
        ("noise", "2", "2", "needs two different numbers"),
        ("adc.bits", "4", "ideal", "needs two different numbers"),
        ("time", "0s", "1d", "start later than 0"),
    ):
        with pytest.raises(CimsimError, match=text):
            range_of(key, start, stop, pcm)


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Run:
    return Run.open(shutil.copytree(trained, tmp_path / "run"))


def test_its_levels_are_cells_of_an_ordinary_sweep(run: Run, tmp_path: Path) -> None:
    sweep([run], parse_axis("noise=0,4"), 2)
    told: list[int] = []
    evaluation = Evaluation(chips=2, progress=lambda done, total, _: told.append(done))
    found = tolerance(RunSubject(run), "noise", 5.0, evaluation, "0", "8")
    assert told[0] == 4  # both levels were there
    assert found.limit == pytest.approx(run.digital_accuracy - 0.05)
    assert found.level is not None
    kept = read_sweep(sweep_folder(run.path, "noise"))
    assert {level for level in kept.plan.levels} == {point.level for point in found.points}
    assert kept.missing == 0
    means = [point.mean for point in found.points]
    levels = [float(point.level or 0) for point in found.points]
    assert np.interp(found.level, levels, means) == pytest.approx(found.limit)
    told.clear()
    assert tolerance(RunSubject(run), "noise", 5.0, evaluation, "0", "8") == found
    assert len(told) == len(set(told))  # nothing was evaluated again
    assert "stays within 5 points of the digital" in found.answer
    assert "95 % interval over 2 chips" in found.answer
    write_result(run.path, found)
    assert STUDY.read(run.path, "noise") == found
    assert [path.name for path in STUDY.paths(run.path)] == ["noise_within=5.json"]


def test_answers_without_a_level(run: Run) -> None:
    evaluation = Evaluation(chips=1)
    calm = tolerance(RunSubject(run), "noise", 100.0, evaluation, "0", "1")
    assert calm.answer.endswith("from noise 0 to 1.")
    assert calm.holds
    strict = tolerance(RunSubject(run), "adc.bits", 0.0, Evaluation(chips=1, noise=8.0), "2", "3")
    assert "is not within 0 points of the digital" in strict.answer
    assert "anywhere from adc.bits 2 to 3" in strict.answer


def test_a_tolerance_below_zero_is_refused(run: Run) -> None:
    with pytest.raises(CimsimError, match="must be from 0 to 100 points, not -1"):
        tolerance(RunSubject(run), "noise", -1.0)
