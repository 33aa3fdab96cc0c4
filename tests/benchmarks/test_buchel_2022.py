"""Worst chips under mismatch: the expected minimum, and the committed numbers."""

from __future__ import annotations

import itertools

import pytest

from benchmarks.papers import buchel_2022
from benchmarks.papers.record import RESULTS
from benchmarks.papers.trials import Trials


def test_the_expected_minimum_is_that_of_all_choices() -> None:
    values = [3.0, 1.0, 4.0, 1.5, 9.0]
    for count in range(1, 6):
        minima = [min(choice) for choice in itertools.combinations(values, count)]
        mean = sum(minima) / len(minima)
        spread = (sum((each - mean) ** 2 for each in minima) / len(minima)) ** 0.5
        assert buchel_2022.minimum_of(values, count) == pytest.approx((mean, spread))


def test_the_worst_of_several_trainings() -> None:
    found = buchel_2022.worst([[80.0, 70.0], [90.0, 60.0]])
    assert found.value == 60.0
    assert found.standard_error == pytest.approx(buchel_2022.minimum_of([60, 70, 80, 90], 2)[1])
    assert found.of == "the worst of 4 chips of 2 trainings"


def test_committed_rows_are_those_of_the_trials() -> None:
    trials = Trials(RESULTS / f"{buchel_2022.NAME}.csv")
    rows = {row.key: row for row in buchel_2022.rows(trials)}
    robust = rows["robust, noise 1.1, worst"]
    assert robust.cimsim.value == pytest.approx(89.17)
    assert len(trials.groups("robust, noise 1.1", "accuracy")) == 2
    worst = rows["standard, worst"].cimsim.value
    assert worst == min(value for g in trials.groups("standard", "accuracy") for value in g)
