"""The comparisons: what they measure, and that their pages are made of the committed scores."""

from __future__ import annotations

import pytest

from benchmarks import bent_cells, default
from benchmarks.fair import Comparison, Scores
from benchmarks.fair_page import RESULTS, distinct_conditions, summary_lines, table_lines
from cimsim.training.candidates import CANDIDATES
from cimsim.training.config import make_config


def test_the_candidates_of_noise_auto_are_measured() -> None:
    measured = [make_config(profile="ideal", **each) for each in default.METHODS["noise auto"]]
    candidates = [make_config(profile="ideal", **settings) for settings in CANDIDATES.values()]
    assert measured == candidates


@pytest.mark.parametrize("comparison", [default.COMPARISON, bent_cells.COMPARISON])
def test_the_committed_page_is_made_of_the_committed_scores(comparison: Comparison) -> None:
    scores = Scores(comparison, RESULTS)
    page = (RESULTS / f"{comparison.name}.md").read_text(encoding="utf-8").splitlines()
    pairs = [
        (task, profile)
        for task in comparison.tasks
        for profile in comparison.profiles
        if scores.seeds((task, profile), comparison.ours)
    ]
    assert pairs
    expected = list(summary_lines(scores, pairs))
    for pair in pairs:
        expected += table_lines(scores, *pair)
    assert set(expected) <= set(page)


def test_chips_that_do_not_age_count_once() -> None:
    scores = Scores(default.COMPARISON, RESULTS)
    young = [("1 s", level) for level in (0.0, 1.0, 2.0, 4.0)]
    assert list(distinct_conditions(scores, ("digits-mlp", "reram-milo-2021"))) == young
    aging = list(distinct_conditions(scores, ("fashion-mnist-cnn", "pcm-ibm-2020")))
    assert aging == default.COMPARISON.conditions
