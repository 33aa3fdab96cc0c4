"""A table that is exported computes nothing in a spreadsheet."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cimsim.analysis.sweeps.store import Plan, Sweep, trials_csv
from cimsim.analysis.table import table_csv
from tests.subjects import trial

ROOT = Path(__file__).parents[2]
FORMULAS = ["=1+1", "+1+cmd|' /C calc'!A0", "-2+3+cmd", "@SUM(A1)", "\t=1", "\n=1", "=HYPERLINK(1)"]
NUMBERS = ["-0.5", "+3", "-1e-6", "-0.05 ± 0.10", "-3 %", "-inf", "-.5", 1, -1.5, None]


def cells(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


@pytest.mark.parametrize("formula", FORMULAS)
def test_a_formula_is_marked_as_text(formula: str) -> None:
    assert cells(table_csv([[formula, "x"], ["x", formula]])) == [
        [f"'{formula}", "x"],
        ["x", f"'{formula}"],
    ]


@pytest.mark.parametrize("number", NUMBERS)
def test_a_number_stays_as_it_is(number: object) -> None:
    assert cells(table_csv([[number, "x"]])) == [["" if number is None else str(number), "x"]]


def test_no_line_end_in_a_cell_ends_its_row() -> None:
    assert cells(table_csv([["a\rb", "c\r\nd", "\r=1"], ["x"]])) == [
        ["a\nb", "c\nd", "'\n=1"],
        ["x"],
    ]


def test_no_byte_of_zero_is_written() -> None:
    assert table_csv([["a\0b"]]) == "a\\0b\n"


@given(st.lists(st.lists(st.text() | st.floats(allow_nan=False) | st.integers())))
def test_no_cell_of_any_table_is_a_formula(table: list[list[object]]) -> None:
    for row in cells(table_csv(table)):
        for cell in row:
            assert cell[:1] not in ("=", "@", "\t", "\n", "\r")
            assert cell[:1] not in ("+", "-") or re.fullmatch(r"[-+][\d.infe±% +-]*", cell)


@pytest.mark.parametrize("name", ["=1+1", "@x", "--help", "+a"])
def test_the_cells_of_a_sweep_name_runs_devices_and_levels_as_text(name: str) -> None:
    plan = Plan(
        name, name, "cell.technology", (name,), 1, {"accuracy": 0.5}, "b", "c", "d", "cpu", "0"
    )
    text = trials_csv([Sweep(plan, (trial("b", name, 0, 0.5, 1.0),))])
    assert cells(text)[1][:2] == [f"'{name}"] * 2
    assert cells(text)[1][4] == f"'{name}"


def test_nothing_else_of_the_product_writes_csv() -> None:
    found = [
        path.relative_to(ROOT).as_posix()
        for folder in ("cimsim", "analysis", "training")
        for path in (ROOT / folder).rglob("*.py")
        if re.search(r"csv\.(writer|DictWriter)", path.read_text(encoding="utf-8"))
    ]
    assert found == ["analysis/table.py"]
