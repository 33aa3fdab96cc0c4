"""Shares of a loss: games whose shares are known, and a real run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cimsim.analysis.evaluation import Evaluation
from cimsim.analysis.shown import write_result
from cimsim.analysis.studies.shapley import (
    STUDY,
    Game,
    affordable_orders,
    attribute,
    draw_orders,
    drawn_shares,
    exact_shares,
    subsets,
)
from cimsim.errors import CimsimError
from cimsim.profile import load_profile
from cimsim.runs import RunSubject
from cimsim.training.run import Run

NAMES = ["a", "b", "c", "d"]


def game(value: Callable[[frozenset[str]], float]) -> Game:
    """A game for two chips, of which the second loses twice as much."""
    return lambda subset: np.array([1.0, 2.0]) * value(subset)


@given(st.lists(st.floats(-1, 1), min_size=4, max_size=4))
def test_of_an_additive_game_each_gets_its_own(costs: list[float]) -> None:
    own = dict(zip(NAMES, costs, strict=True))
    found = exact_shares(NAMES, game(lambda s: sum(own[name] for name in s)))
    for name in NAMES:
        assert np.allclose(found[name], [own[name], 2 * own[name]])


def test_what_two_only_cost_together_they_share() -> None:
    """v(S) = 6 [a in S] + 8 [b and c in S]: closed form a = 6, b = c = 4, d = 0."""
    value = game(lambda s: 6.0 * ("a" in s) + 8.0 * ({"b", "c"} <= s))
    found = {name: float(share[0]) for name, share in exact_shares(NAMES, value).items()}
    assert found == pytest.approx({"a": 6.0, "b": 4.0, "c": 4.0, "d": 0.0})


def test_the_glove_game() -> None:
    """One left glove (a), two right ones (b, c), a pair is worth 1: 2/3, 1/6, 1/6.

    Source: the textbook example of L. S. Shapley and M. Shubik (1969).
    """
    value = game(lambda s: float("a" in s and bool(s & {"b", "c"})))
    found = exact_shares(["a", "b", "c"], value)
    assert [float(found[n][0]) for n in "abc"] == pytest.approx([2 / 3, 1 / 6, 1 / 6])


def tables(values: list[float]) -> Game:
    """Any game: a number for each subset."""
    known = dict(zip(subsets(NAMES), values, strict=True))
    return game(lambda s: known[s] - known[frozenset()])


@given(st.lists(st.floats(-1, 1), min_size=16, max_size=16))
def test_shares_of_any_game_add_up_drawn_or_not(values: list[float]) -> None:
    value = tables(values)
    whole = value(frozenset(NAMES))
    assert np.allclose(sum(exact_shares(NAMES, value).values()), whole)
    drawn, _ = drawn_shares(draw_orders(NAMES, 2), value)
    assert np.allclose(sum(drawn.values()), whole)


def test_many_drawn_orders_come_close_within_their_error() -> None:
    value = tables(np.random.default_rng(3).normal(size=16).tolist())
    exact = exact_shares(NAMES, value)
    found, errors = drawn_shares(draw_orders(NAMES, 400), value)
    off = [(found[n].mean() - exact[n].mean()) / (errors[n] or 0.0) for n in NAMES]
    assert max(map(abs, off)) < 4
    assert all(error is not None and 0 < error < 0.2 for error in errors.values())
    _, few = drawn_shares(draw_orders(NAMES, 40), value)
    sums = (sum(filter(None, own.values())) for own in (few, errors))
    assert next(sums) / next(sums) == pytest.approx(10**0.5, rel=0.3)


def test_orders_come_in_pairs_and_are_the_same_every_time() -> None:
    orders = draw_orders(NAMES, 6)
    assert len(orders) == 6
    assert all(sorted(order) == NAMES for order in orders)
    assert all(orders[i + 1] == orders[i][::-1] for i in (0, 2, 4))
    assert draw_orders(NAMES, 8)[:6] == orders
    assert len({tuple(order) for order in orders}) > 2


def test_subsets() -> None:
    assert len(set(subsets(NAMES))) == 16
    assert set(subsets(NAMES)) >= {frozenset(pair) for pair in combinations(NAMES, 2)}


def test_what_is_affordable() -> None:
    assert affordable_orders(NAMES, 10) is None  # 160 cells
    assert affordable_orders([f"{i}" for i in range(8)], 10) == 14  # 14 orders of 70 cells
    assert affordable_orders([f"{i}" for i in range(30)], 100) == 4
    assert affordable_orders(["a"], 1000) == 4


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Run:
    return Run.open(shutil.copytree(trained, tmp_path / "run"))


def test_shares_of_a_run_add_up_to_its_loss(run: Run) -> None:
    evaluation = Evaluation(chips=2, noise=8.0, age_s=86400.0)
    drawn = attribute(RunSubject(run), evaluation, orders=2)
    told: list[int] = []
    exact = attribute(
        RunSubject(run),
        Evaluation(
            chips=2, noise=8.0, age_s=86400.0, progress=lambda done, total, _: told.append(done)
        ),
    )
    assert told[0] == 20  # of the two orders; 64 in all
    assert told[-1] == 64
    assert (drawn.orders, exact.orders) == (2, None)
    for found in (drawn, exact):
        assert found.lost.mean == pytest.approx(found.nothing.mean - found.everything.mean)
        assert sum(share.lost.mean for share in found.shares) == pytest.approx(found.lost.mean)
        each = [share.lost.mean for share in found.shares]
        assert each == sorted(each, reverse=True)
    assert all(share.sampling_error == 0.0 for share in exact.shares)
    assert exact.shares[0].lost.mean > 0.01
    write_result(run.path, exact)
    assert STUDY.read(run.path) == exact


def test_a_single_pair_of_orders_has_no_error_of_the_draws(run: Run) -> None:
    """The cells are empty in every file and table; older files have NaN, in text."""
    found = attribute(RunSubject(run), Evaluation(chips=2, noise=8.0), orders=2)
    assert all(share.sampling_error is None for share in found.shares)
    assert set(found.sheet().columns[-1].cells) == {""}
    path = run.path / f"{found.file}.json"
    write_result(run.path, found)
    assert '"sampling_error": null' in path.read_text()
    csv = path.with_suffix(".csv").read_text().splitlines()
    assert all(line.endswith(",") for line in csv[1:-1])
    assert STUDY.read_file(path) == found
    old = STUDY.read(Path(__file__).parents[2] / "fixtures" / "run-0.1.0")
    assert (old.orders, {share.sampling_error for share in old.shares}) == (2, {None})


def test_it_refuses_what_makes_no_sense(run: Run) -> None:
    for orders in (0, 3):
        with pytest.raises(CimsimError, match="use an even number"):
            attribute(RunSubject(run), orders=orders)
    with pytest.raises(CimsimError, match="nothing to budget"):
        attribute(RunSubject(run), Evaluation(profile=load_profile("ideal")))
