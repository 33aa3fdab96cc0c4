import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cimsim.quantities import plain_number, quantity, scale_of

PREFIXES = {"f": 1e-15, "p": 1e-12, "n": 1e-9, "µ": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3, "T": 1e12}
PREFIXES |= {"M": 1e6, "G": 1e9}


@given(st.floats(1e-14, 9e14))
def test_a_quantity_is_read_back_within_half_a_percent(value: float) -> None:
    number, unit = quantity(value, "J").split()
    assert "e" not in number
    assert float(number.replace(",", "")) * PREFIXES[unit[:-1]] == pytest.approx(value, rel=5.1e-3)
    assert 1 <= float(number.replace(",", "")) < 1000


@given(st.floats(1e-13, 1e3))
def test_a_prefix_of_an_area_counts_twice(value_m2: float) -> None:
    number, unit = quantity(value_m2, "m²").split()
    size = PREFIXES[unit[:-2]] ** 2
    assert float(number.replace(",", "")) * size == pytest.approx(value_m2, rel=5.1e-3)


@given(st.lists(st.just(0.0) | st.floats(1e-15, 1e6), min_size=1))
def test_a_column_has_one_unit_and_no_exponents(values: list[float]) -> None:
    scale = scale_of(values, "s")
    for value in values:
        assert re.fullmatch(r"<0\.001|[\d,.]+", scale.number(value))
    largest = float(scale.number(max(values)).replace(",", ""))
    assert largest < 1000
    assert largest >= 1 or max(values) == 0


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1.6e-4, "J", "160 µJ"),
        (3.96e-6, "J", "3.96 µJ"),
        (999.7e-9, "J", "1 µJ"),
        (999.4e-9, "J", "999 nJ"),
        (3.2e-6, "m²", "3.2 mm²"),
        (136e12, "OPS/W", "136 TOPS/W"),
        (5e15, "OPS", "5,000 TOPS"),
        (0.0, "J", "0 J"),
        (-2.5e-3, "V", "-2.5 mV"),
        (None, "J", "-"),
        (math.nan, "J", "-"),
    ],
)
def test_quantities(value: float | None, unit: str, text: str) -> None:
    assert quantity(value, unit) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (-1e-9, ">-0.001"), (1e-9, "<0.001"), (math.inf, "inf"), (math.nan, "-")],
)
def test_numbers_at_the_ends(value: float, text: str) -> None:
    assert plain_number(value) == text


def test_values_that_do_not_exist_do_not_choose_the_unit() -> None:
    assert scale_of([None, math.nan, 2e-9], "J").unit == "nJ"
    assert scale_of([], "J").unit == "J"
