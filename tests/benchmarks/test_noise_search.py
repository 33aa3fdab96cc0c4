"""The search of ``--noise auto``: that its page is made of the committed choices."""

from __future__ import annotations

from benchmarks import noise_search
from benchmarks.fair_page import RESULTS
from cimsim.training.candidates import CANDIDATES


def test_each_choice_is_a_candidate_of_a_measured_condition() -> None:
    choices = noise_search.choices(RESULTS)
    assert choices
    assert {one.chosen for one in choices} <= set(CANDIDATES)
    assert {one.optimize_for for one in choices} <= set(noise_search.CONDITIONS)
    assert len({one[:4] for one in choices}) == len(choices)


def test_the_committed_page_is_made_of_the_committed_choices() -> None:
    page = (RESULTS / noise_search.PAGE).read_text(encoding="utf-8").splitlines()
    found = list(noise_search.lines(RESULTS))
    assert {*noise_search.summary_of(found), *map(noise_search.row_of, found)} <= set(page)


def test_the_best_candidate_never_loses_to_the_choice() -> None:
    for line in noise_search.lines(RESULTS):
        assert sum(noise_search.lost_by(line)) >= 0
