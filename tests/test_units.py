from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cimsim.errors import CimsimError
from cimsim.units import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1),
        ("1 day", 86400),
        ("1d", 86400),
        ("2 hours", 7200),
        ("250ns", 250e-9),
        ("1e3 s", 1000),
        ("10y", 10 * 365.25 * 86400),
        ("0", 0),
        (3600, 3600),
        ("  5 min ", 300),
        ("1mo", 365.25 / 12 * 86400),
        (timedelta(hours=2), 7200),
    ],
)
def test_durations(text: str | float | timedelta, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize(
    "text",
    [
        *("", "s", "1 fortnight", "-1s", "nan", "inf", "1:30", "1d2h", "1e", "1e400"),
        *(None, -1, float("nan"), float("inf"), 10**400, 1j, b"1 d", [1, 2], {}),
        timedelta(seconds=-1),
    ],
    ids=lambda text: repr(text)[:20],
)
def test_what_is_no_duration(text: Any) -> None:
    with pytest.raises(CimsimError, match="is not a duration"):
        parse_duration(text)


@given(st.floats(min_value=1e-9, max_value=1e10))
def test_what_is_formatted_reads_back(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, rel=1e-3)
