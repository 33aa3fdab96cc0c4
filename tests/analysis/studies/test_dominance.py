"""Properties of the front by statistics."""

from __future__ import annotations

import math
import random
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cimsim.analysis.studies.dominance import dominators, significantly_better

METRICS = st.floats(0, 1, width=32)
COSTS = st.sampled_from([1.0, 1.0 + 1e-12, 2.0, 2.0 - 1e-11, 3.0, 5.0])


@st.composite
def designs(draw: st.DrawFn) -> tuple[list[float], list[list[float]]]:
    """Costs and metrics of some designs, all on the same chips; many are nearly equal."""
    chips, count = draw(st.integers(1, 5)), draw(st.integers(1, 8))
    of_chips = st.lists(METRICS, min_size=chips, max_size=chips)
    base = draw(of_chips)
    near = st.floats(-1e-3, 1e-3).map(lambda d: [value + d for value in base])
    alike = st.sampled_from([0.0, 1e-15, -1e-15]).map(lambda d: [value + d for value in base])
    values = draw(st.lists(st.one_of(of_chips, near, alike), min_size=count, max_size=count))
    return draw(st.lists(COSTS, min_size=count, max_size=count)), values


@settings(max_examples=300, deadline=None)
@given(designs(), st.booleans())
def test_no_point_of_the_front_is_dominated_and_every_other_one_is(
    some: tuple[list[float], list[list[float]]], falls: bool
) -> None:
    costs, values = some
    by = dominators(costs, values, falls)
    front = [i for i, dominator in enumerate(by) if dominator is None]
    cheaper = [
        [_no_dearer(costs[j], costs[i]) for j in range(len(costs))] for i in range(len(costs))
    ]
    assert front
    for i in front:
        for j in front:
            assert i == j or not cheaper[i][j] or significantly_better(values[i], values[j], falls)
    for i, dominator in enumerate(by):
        if dominator is not None:
            assert dominator in front
            assert cheaper[i][dominator]
            assert not significantly_better(values[i], values[dominator], falls)
    assert any(_no_dearer(costs[i], min(costs)) for i in front)


def _no_dearer(cost: float, than: float) -> bool:
    return cost <= than * (1 + 1e-9)


@given(designs(), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_the_order_of_the_designs_does_not_matter(
    some: tuple[list[float], list[list[float]]], chance: random.Random
) -> None:
    costs, values = some
    order = list(range(len(costs)))
    chance.shuffle(order)
    there = dominators(costs, values)
    here = dominators([costs[i] for i in order], [values[i] for i in order])

    def shown(by: list[int | None], names: list[int]) -> list[tuple[float, list[float]]]:
        return sorted(
            (costs[name], values[name])
            for name, dominator in zip(names, by, strict=True)
            if dominator is None
        )

    rounded = [
        [(round(cost, 6), [round(v, 9) for v in own]) for cost, own in front]
        for front in (shown(there, list(range(len(costs)))), shown(here, order))
    ]
    assert rounded[0] == rounded[1]


def test_of_equal_means_the_cheaper_one_is_kept() -> None:
    """A design for 37 nJ is on no front beside one for 3.8 nJ whose mean differs by rounding."""
    values = [0.9 + 0.01 * chip for chip in range(10)]
    again = [value + 1e-16 * chip for chip, value in enumerate(values)]
    assert fmean(again) != fmean(values) or again != values
    assert dominators([3.8, 37.0], [values, again]) == [None, 0]
    assert dominators([37.0, 3.8], [again, values]) == [1, None]
    assert dominators([37.0, 3.8], [again[:1], values[:1]]) == [1, None]  # one chip alike


def test_differences_are_taken_chip_by_chip() -> None:
    """The chips differ by far more than the designs, which does not hide a constant difference."""
    chips = [0.60, 0.70, 0.80, 0.90]
    better = [value + 0.01 + 0.001 * (i % 2) for i, value in enumerate(chips)]
    assert significantly_better(better, chips)
    assert not significantly_better(better[::-1], chips)
    assert significantly_better([1 - v for v in better], [1 - v for v in chips], falls=True)


def test_a_step_that_is_too_small_does_not_hide_a_significant_one() -> None:
    base = [0.80, 0.82, 0.84, 0.86]
    unclear = [0.81, 0.81, 0.86, 0.86]
    clear = [value + 0.02 for value in base]
    assert dominators([1, 2, 3], [base, unclear, clear]) == [None, 0, None]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_design_whose_outputs_are_not_finite_is_on_no_front(bad: float) -> None:
    assert dominators([1, 2], [[bad, 0.9], [0.5, 0.6]]) == [1, None]
    assert dominators([1, 2], [[bad], [bad]]) == [0, 1]
