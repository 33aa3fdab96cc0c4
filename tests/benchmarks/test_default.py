"""The comparison of the default measures what ``--noise auto`` chooses from."""

from __future__ import annotations

from benchmarks.default import METHODS
from cimsim.training.candidates import CANDIDATES
from cimsim.training.config import make_config


def test_the_candidates_of_noise_auto_are_measured() -> None:
    measured = [make_config(profile="ideal", **settings) for settings in METHODS["noise auto"]]
    candidates = [make_config(profile="ideal", **settings) for settings in CANDIDATES.values()]
    assert measured == candidates
