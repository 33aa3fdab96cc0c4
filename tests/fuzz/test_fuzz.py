"""Some damaged files of each kind; `python -m tests.fuzz --count 10000` tries many more.

The cases are always the same, so that a failure can be seen again.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fuzz import runs
from tests.fuzz.cases import run_cases
from tests.fuzz.judging import Unacceptable, judge, refuse_unclear

PARTS = 8
PROFILES = 465
MEASUREMENTS = 23
RUNS = 12


@pytest.mark.parametrize("part", range(PARTS))
def test_damaged_profiles_are_refused_at_their_place_or_give_finite_numbers(part: int) -> None:
    tally = run_cases("profiles", 0, range(part, PROFILES, PARTS))
    assert not tally.crashes
    assert set(tally.outcomes) == {"accepted", "refused"}


def test_damaged_measurements_are_refused_or_give_a_device() -> None:
    tally = run_cases("measurements", 0, range(MEASUREMENTS))
    assert not tally.crashes
    assert set(tally.outcomes) == {"accepted", "refused"}


@pytest.fixture
def made() -> Iterator[None]:
    runs.made()
    yield
    runs.remove()


@pytest.mark.slow
@pytest.mark.usefixtures("made")
def test_damaged_runs_are_refused_or_read() -> None:
    tally = run_cases("runs", 0, range(RUNS))
    assert not tally.crashes
    assert set(tally.outcomes) == {"accepted", "refused"}


def test_what_a_crash_is() -> None:
    def broken() -> str:
        raise KeyError("a traceback")

    def endless() -> str:
        while True:
            pass

    assert judge(broken).crashed
    assert judge(endless, cpu_s=0.2).crashed
    assert not judge(lambda: "well").crashed
    for message in ("", "x" * 10_000, "a\n" * 1000, "\x1b[31mred"):
        with pytest.raises(Unacceptable):
            refuse_unclear(message)
