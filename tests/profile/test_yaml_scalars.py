"""Unquoted words mean what a reader expects."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cimsim.profile.yaml_scalars import parse_scalar


@pytest.mark.parametrize(
    "text", ["no", "yes", "on", "off", "y", "010", "12:30:00", "1_000", "0x1F"]
)
def test_what_yaml_would_change_stays_text(text: str) -> None:
    assert parse_scalar(text) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-6", 1e-6),
        ("1E5", 1e5),
        ("+.5", 0.5),
        ("5.", 5.0),
        ("-0", 0),
        ("0.10", 0.1),
        ("-.inf", -math.inf),
        ("9" * 400, math.inf),
        ("true", True),
        ("FALSE", False),
        ("", None),
        ("~", None),
        ("Null", None),
    ],
)
def test_numbers_and_words(text: str, value: object) -> None:
    assert parse_scalar(text) == value
    assert type(parse_scalar(text)) is type(value)


def test_not_a_number() -> None:
    assert math.isnan(float(parse_scalar(".nan") or 0))


@given(st.floats(allow_nan=False))
def test_every_float_is_read_as_python_writes_it(number: float) -> None:
    text = repr(number).replace("inf", ".inf")
    assert parse_scalar(text) == number


@given(st.integers(-(10**18) + 1, 10**18 - 1))
def test_every_integer_is_read_as_python_writes_it(number: int) -> None:
    assert parse_scalar(str(number)) == number
    assert type(parse_scalar(str(number))) is int
