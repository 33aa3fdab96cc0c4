"""The conditions that a search optimizes for."""

from __future__ import annotations

import math

import pytest

from cimsim.errors import CimsimError
from cimsim.training.config import make_config
from cimsim.training.optimize_for import conditions

YEAR = 365.25 * 86400


@pytest.mark.parametrize(
    ("text", "noises"),
    [
        ("1", [1]),
        ("0:2", [0, 0.5, 1, 1.5, 2]),
        ("0:4:1", [0, 1, 2, 3, 4]),
        ("0:1:0.4", [0, 0.4, 0.8]),
        ("0,1,4", [0, 1, 4]),
        ("1,0:2:1", [1, 0, 2]),
        ("0.1:0.3:0.1", [0.1, 0.2, 0.3]),
    ],
)
def test_noise_levels(text: str, noises: list[float]) -> None:
    assert conditions(text) == (tuple(noises), (0.0,))


def test_ages_follow_the_at_sign() -> None:
    assert conditions("1@1y") == ((1.0,), (YEAR,))
    assert conditions("0,2@1s,1d")[1] == (1.0, 86400.0)
    first, between, last = conditions("1@1s:1y")[1]
    assert (first, last) == (1.0, YEAR)
    assert math.log1p(between) == pytest.approx((math.log1p(1) + math.log1p(YEAR)) / 2)


def test_without_ages_those_of_training_count() -> None:
    assert conditions("1", age="1h")[1] == (3600.0,)
    assert len(conditions("1", age="1s:1d")[1]) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is not a noise level of 0 or more"),
        ("-1", "'-1' is not a noise level"),
        ("inf", "'inf' is not a noise level"),
        ("nan", "'nan' is not a noise level"),
        ("2:0", "the first end of a range must be the lower one"),
        ("0:2:0", "a range has more than 100 levels"),
        ("0:1:0.001", "a range has more than 100 levels"),
        ("0:2:-1", "'-1' is not a noise level"),
        ("0:1:1:1", "a range is FROM:TO or FROM:TO:STEP"),
        ("1@", "'' is not a duration"),
        ("1@1q", "'1q' is not a duration"),
        ("1@1s:1h:1d", "a range of ages is FROM:TO"),
        ("1@1d:1s", "the first end of a range must be the lower one"),
    ],
)
def test_what_is_no_condition(text: str, message: str) -> None:
    with pytest.raises(CimsimError, match="is not a list of conditions to optimize for") as error:
        conditions(text)
    assert message in str(error.value)
    assert "such as 1, 0:2" in str(error.value)


def test_a_training_refuses_an_empty_text() -> None:
    with pytest.raises(CimsimError, match="'' is not a noise level of 0 or more"):
        make_config(profile="ideal", noise="auto", optimize_for="")
