"""Yield: intervals against published ones, chips counted, pictures."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import cimsim
from cimsim.analysis.evaluation import Evaluation
from cimsim.analysis.shown import write_result
from cimsim.analysis.studies.chip_yield import (
    STUDY,
    chip_yield,
    rate_of,
)
from cimsim.analysis.sweeps.axis import parse_axis
from cimsim.errors import CimsimError
from cimsim.runs import RunSubject
from cimsim.training.run import Run
from tests.subjects import sweep


@pytest.mark.parametrize(
    ("count", "total", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_intervals_are_the_published_ones(
    count: int, total: int, low: float, high: float
) -> None:
    """R. G. Newcombe, Statistics in Medicine 17, 857-872 (1998), table I, method 3."""
    found = rate_of(count, total)
    assert (found.low, found.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))
    z, p = 1.959963984540054, count / total  # and Wilson's own formula
    middle = (p + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(p * (1 - p) / total + z * z / (4 * total**2))
    assert found.low == pytest.approx(middle - half, abs=1e-12)
    assert found.high == pytest.approx(middle + half)


def test_a_chip_exactly_at_the_threshold_passes() -> None:
    """93.9 / 100 is 0.9390000000000001, more than 939 / 1000."""
    assert 93.9 / 100 > 939 / 1000
    x, y = torch.eye(10).repeat(100, 1), torch.arange(10).repeat(100)
    net = nn.Sequential(nn.Linear(10, 10, bias=False))
    with torch.no_grad():
        net[0].weight.copy_(torch.eye(10))
    y[:61] = (y[:61] + 1) % 10
    at = cimsim.chip_yield(cimsim.convert(net, "ideal"), [(x, y)], above=93.9, chips=2)
    assert at.passing.count == 2
    assert [row[-1] for row in at.rows()][1:] == [True, True]
    assert {rate.share for _, rate in at.shares()} == {1.0}
    y[61] = (y[61] + 1) % 10
    below = cimsim.chip_yield(cimsim.convert(net, "ideal"), [(x, y)], above=93.9, chips=2)
    assert below.passing.count == 0


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Run:
    return Run.open(shutil.copytree(trained, tmp_path / "run"))


def test_chips_are_those_of_a_sweep_and_counted(run: Run) -> None:
    evaluation = Evaluation(chips=6, noise=8.0, age_s=3600.0)
    (swept,) = sweep([run], parse_axis("noise=8"), 6, age_s=3600.0)
    expected = [cell.scores["accuracy"] for cell in swept.trials]
    middle = sorted(expected)[3]
    found = chip_yield(RunSubject(run), evaluation, above=100 * middle)
    assert list(found.values) == expected
    assert found.passing.count == sum(value >= middle for value in expected)
    assert found.passing.total == 6
    at = dict(found.percentiles)
    assert at[50.0] == sorted(expected)[2]
    assert at[1.0] == min(expected)
    assert at[99.0] == max(expected)
    assert f"{found.passing.count} of 6 chips" in found.answer
    told: list[tuple[int, int]] = []
    watched = replace(evaluation, progress=lambda done, total, _: told.append((done, total)))
    assert chip_yield(RunSubject(run), watched, above=0.0).passing.share == 1.0
    assert told == [(6, 6)]  # another threshold costs nothing
    write_result(run.path, found)
    assert STUDY.read(run.path) == found


def test_the_curve_goes_through_the_share(run: Run) -> None:
    found = chip_yield(RunSubject(run), Evaluation(chips=5, noise=8.0), above=50)
    (curve, *_) = found.figure().axes[1].lines
    x, y = (np.asarray(values, dtype=float) for values in curve.get_data())
    assert np.allclose(y, [100 * np.mean(100 * np.array(found.values) >= at) for at in x])


def test_a_metric_that_falls_passes_below(run: Run) -> None:
    evaluation = Evaluation(chips=4, noise=4.0, metric="loss")
    found = chip_yield(RunSubject(run), evaluation, below=1e9)
    assert found.passing.count == 4
    assert "of at most" in found.answer
    *_, second, worst = sorted(found.values)
    assert chip_yield(RunSubject(run), evaluation, below=(second + worst) / 2).passing.count == 3
    nan = replace(found, values=(*found.values[:3], math.inf))
    assert "1 chips without a finite number" in nan.figure().get_suptitle()
    with pytest.raises(CimsimError, match="passes with loss below a threshold; use --below 2"):
        chip_yield(RunSubject(run), evaluation, above=2)
    with pytest.raises(CimsimError, match="accuracy above a threshold; use --above 90"):
        chip_yield(RunSubject(run), Evaluation(chips=4), below=90)
    with pytest.raises(CimsimError, match="must be a finite number, not nan"):
        chip_yield(RunSubject(run), Evaluation(chips=4), above=math.nan)
    with pytest.raises(CimsimError, match="900 is impossible: accuracy is from 0 to 100 %"):
        chip_yield(RunSubject(run), Evaluation(chips=4), above=900)
    with pytest.raises(CimsimError, match="there is no threshold; pass above, or below if"):
        chip_yield(RunSubject(run), Evaluation(chips=4))
