"""What the results of all studies have in common."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from cimsim.analysis.shown import as_json, write_result
from cimsim.analysis.studies import STUDIES
from cimsim.analysis.table import table_csv
from cimsim.cli import console
from cimsim.sealing import unsealed
from tests.terminals import WIDTHS, check, terminal

NAMES = [study.name for study in STUDIES]


@pytest.fixture(params=STUDIES, ids=NAMES)
def kept(request: pytest.FixtureRequest, studied: Path) -> tuple[Path, object]:
    """The file of a result of each study, without its extension, and the result."""
    path = request.param.paths(studied)[0]
    return path.with_name(path.name.removesuffix(".json")), request.param.read_file(path)


def test_names_and_files_are_distinct() -> None:
    assert len(set(NAMES)) == len(NAMES)
    assert len({study.files for study in STUDIES}) == len(STUDIES)
    assert len({study.result for study in STUDIES}) == len(STUDIES)


def test_it_is_read_as_it_was_written(kept, studied: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path, found = kept
    written = json.loads(path.with_name(f"{path.name}.json").read_text())
    assert json.loads(as_json(found)) == unsealed(written)
    rows = path.with_name(f"{path.name}.csv").read_text().splitlines()
    assert rows[0] == table_csv(found.rows()).splitlines()[0]
    assert len(rows) == len(list(found.rows()))
    for suffix in (".svg", ".png"):
        assert path.with_name(path.name + suffix).stat().st_size > 5000
    assert studied / found.file == path
    files = write_result(tmp_path, found)
    assert [file.relative_to(tmp_path) for file in files] == [
        path.relative_to(studied).with_name(path.name + suffix)
        for suffix in (".json", ".csv", ".png", ".svg")
    ]


def test_its_tables_are_tables(kept) -> None:  # type: ignore[no-untyped-def]
    _, found = kept
    rows = list(csv.reader(io.StringIO(table_csv(found.rows()))))
    assert len(rows) > 1
    assert {len(row) for row in rows} == {len(rows[0])}
    for sheet in (found.sheet(), *found.more_sheets()):
        assert sheet.caption
        assert sheet.rows
        assert {len(row) for row in sheet.rows} == {len(sheet.headings)}
        assert all(0 <= column < len(sheet.headings) for column in sheet.right)
        assert all(type(cell) is str for row in sheet.rows for cell in row)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("wide", [False, True])
def test_its_tables_fit_a_terminal(  # type: ignore[no-untyped-def]
    kept,
    width: int,
    wide: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, found = kept
    terminal(monkeypatch, width)
    for sheet in (found.sheet(), *found.more_sheets()):
        console.show_sheet(sheet, wide)
        check(sheet, capsys.readouterr().out, width, wide)


def test_its_figure_has_the_points_that_texts_are_for(kept) -> None:  # type: ignore[no-untyped-def]
    _, found = kept
    lines = {str(line.get_gid()): line for ax in found.figure().axes for line in ax.get_lines()}
    assert found.hover()
    for name, texts in found.hover().items():
        assert len(lines[name].get_xdata()) == len(texts)


def test_it_shows_itself_in_a_notebook(kept) -> None:  # type: ignore[no-untyped-def]
    _, found = kept
    picture, _, table = found._repr_html_().partition("<table><caption>")
    assert "<svg" in picture
    assert table.count("<tr>") == len(found.sheet().rows) + 1
