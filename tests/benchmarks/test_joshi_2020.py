"""Joshi 2020 without drift compensation: the exponents of the cells, and the committed numbers."""

from __future__ import annotations

import pytest
import torch

import cimsim
from benchmarks.papers import joshi_2020
from benchmarks.papers.record import RESULTS
from benchmarks.papers.trials import Trials


def test_a_least_exponent_is_that_of_all_large_cells() -> None:
    """A layer of equal large weights keeps (age / 20 s)^-nu of each."""
    layer = torch.nn.Linear(200, 50, bias=False)
    with torch.no_grad():
        layer.weight.fill_(0.5)
    model = torch.nn.Sequential(layer)
    for exponent, expected in ((0.0, 0.049), (0.06, 0.06)):
        condition = joshi_2020.uncompensated(exponent, "1000 s")
        analog = cimsim.convert(model, joshi_2020.chip_profile(condition)).eval()
        cimsim.program(analog, 0)
        fresh = joshi_2020.left_of(analog)
        cimsim.age(analog, 980.0)
        aged = joshi_2020.left_of(analog) / fresh
        assert aged == pytest.approx(50**-expected, rel=0.01)


def test_all_weights_are_multiplied() -> None:
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.Flatten(), torch.nn.Linear(8, 3))
    smaller = joshi_2020.scaled(model, 0.5)
    for whole, part in zip(model.parameters(), smaller.parameters(), strict=True):
        expected = whole if whole.dim() == 1 else whole / 2
        torch.testing.assert_close(part, expected)


def test_larger_exponents_lose_more() -> None:
    """The committed accuracies without compensation fall with the exponent and with the age."""
    trials = Trials(RESULTS / f"{joshi_2020.NAME}.csv")
    found = [
        joshi_2020.mean_on_chips(trials, joshi_2020.LONG, joshi_2020.uncompensated(nu, age))
        for age in ("1000 s", "3000 s")
        for nu in (0.0, *joshi_2020.EXPONENTS)
    ]
    assert found[0] > found[1] > found[2] > 10
    assert found[3] > found[4] > found[5] > 10
    assert found[1] < 0.6 * found[0]
