"""What all results of studies have in common, whatever they are about."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cimsim.analysis.advise import read_advice
from cimsim.analysis.budget import read_budget
from cimsim.analysis.chip_yield import read_yield
from cimsim.analysis.cost import read_cost
from cimsim.analysis.explore import read_exploration
from cimsim.analysis.heat_map import read_map
from cimsim.analysis.life import read_life
from cimsim.analysis.sensitivity import read_sensitivity
from cimsim.analysis.shapley import read_attribution
from cimsim.analysis.study import Result, as_json
from cimsim.analysis.table import table_csv
from cimsim.analysis.tolerance import read_tolerance
from cimsim.analysis.waterfall import read_waterfall
from cimsim.sealing import unsealed

RESULTS: dict[str, Callable[[Path], Result]] = {
    "advice/advice": read_advice,
    "budget/budget": read_budget,
    "budget/shapley": read_attribution,
    "budget/waterfall": read_waterfall,
    "cost/cost": read_cost,
    "explore/explore": read_exploration,
    "life/life": read_life,
    "maps/noise-by-adc.bits/map": lambda run: read_map(run / "maps" / "noise-by-adc.bits"),
    "sensitivity/sensitivity": read_sensitivity,
    "tolerance/adc.bits": lambda run: read_tolerance(run, "adc.bits"),
    "yield/yield": read_yield,
}


@pytest.mark.parametrize("name", RESULTS)
def test_it_is_read_as_it_was_written(studied: Path, name: str) -> None:
    found = RESULTS[name](studied)
    written = json.loads((studied / f"{name}.json").read_text())
    assert json.loads(as_json(found)) == unsealed(written)
    rows = (studied / f"{name}.csv").read_text().splitlines()
    assert rows[0] == table_csv(found.table()).splitlines()[0]
    assert len(rows) == len(list(found.table()))
    assert (studied / f"{name}.svg").stat().st_size > 5000
    assert (studied / f"{name}.png").stat().st_size > 5000


@pytest.mark.parametrize("name", RESULTS)
def test_its_tables_are_tables(studied: Path, name: str) -> None:
    found = RESULTS[name](studied)
    rows = list(csv.reader(io.StringIO(table_csv(found.table()))))
    assert len(rows) > 1
    assert {len(row) for row in rows} == {len(rows[0])}
    sheet = found.sheet()
    assert sheet.caption
    assert sheet.rows
    assert {len(row) for row in sheet.rows} == {len(sheet.headings)}
    assert all(0 <= column < len(sheet.headings) for column in sheet.right)
    assert all(type(cell) is str for row in sheet.rows for cell in row)


@pytest.mark.parametrize("name", RESULTS)
def test_it_shows_itself_in_a_notebook(studied: Path, name: str) -> None:
    shown = RESULTS[name](studied)._repr_html_()
    assert shown.startswith("<table><caption>")
    assert shown.count("<tr>") == len(RESULTS[name](studied).sheet().rows) + 1
