"""Tables fit the terminal: whole numbers, whole headings, and a line about what is left out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from rich.cells import cell_len

from cimsim.analysis.sheet import Column, Sheet, columns_of
from cimsim.cli import console
from cimsim.cli.tables import shortened_names

_STYLES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
WIDTHS = (60, 80, 120)
NAMES = tuple(f"bert.encoder.layer.{i}.attention.self.{part}" for i in range(3) for part in "qkv")
LAYERS = Sheet(
    "Energy of a long caption about one inference on a profile, which continues in the next line",
    (
        Column("layer", NAMES, kind="name"),
        Column("energy", tuple(f"{1000 + i}" for i in range(9)), "µJ"),
        Column("time of one inference", tuple(f"{2.5 * i:.2f}" for i in range(9)), "ms"),
        Column("MACs", tuple(f"{10**i:,}" for i in range(9)), essential=False),
        Column("vectors", tuple(str(7 * i) for i in range(9)), essential=False),
        Column("note", ("a word and another one of many words",) * 9, kind="text"),
    ),
)
MAP = Sheet(
    "Accuracy",
    (
        Column("bits", ("8", "6")),
        *(Column(f"{x}", (f"{50 + x}.25 ± 1.{x:02}", f"{30 + x}.5 ± 2.0")) for x in range(20)),
    ),
)


def printed(text: str) -> list[str]:
    """Lines without styles."""
    return _STYLES.sub("", text).splitlines()


def grids(lines: list[str]) -> Iterator[tuple[list[str], list[list[str]]]]:
    """Headings and rows of each table that was printed; cells of several lines are joined."""
    heading: list[list[str]] = []
    body: list[list[str]] = []
    for line in lines:
        if line.startswith("┃"):
            heading.append([cell.strip() for cell in line.strip("┃").split("┃")])
        elif line.startswith("│"):
            body.append([cell.strip() for cell in line.strip("│").split("│")])
        elif line.startswith("└"):
            yield [" ".join(parts).strip() for parts in zip(*heading, strict=True)], body
            heading, body = [], []


def check(sheet: Sheet, out: str, width: int, wide: bool = False) -> None:
    """What a terminal of ``width`` printed of ``sheet`` is whole, and complete if ``wide``."""
    lines = printed(out)
    assert max(map(cell_len, lines)) <= width
    tables = list(grids(lines))
    headings = {" ".join(name.split()) for head, _ in tables for name in head}
    left_out = " ".join(" ".join(lines).partition("--wide also shows: ")[2].split())
    for column in sheet.columns:
        heading = " ".join(column.heading.split())
        if heading not in headings:
            assert not column.essential
            assert not wide
            assert heading in left_out
            continue
        place = next(
            (t, head.index(heading)) for t, (head, _) in enumerate(tables) if heading in head
        )
        cells = [row[place[1]] for row in tables[place[0]][1]]
        if column.kind == "text":
            assert " ".join(" ".join(cells).split()) == " ".join(" ".join(column.cells).split())
            continue
        filled = [cell for cell in cells if cell]
        expected = [cell for cell in column.cells if cell]
        if column.kind == "number":
            assert filled == expected
        else:
            assert len(set(filled)) == len(set(expected))
            for short, name in zip(filled, expected, strict=True):
                start, cut, end = short.partition("…")
                assert name.startswith(start)
                assert name.endswith(end)
                assert cut or short == name


@pytest.fixture(params=WIDTHS)
def width(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Stdout is a terminal of this width."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(request.param))
    columns: int = request.param
    return columns


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("sheet", [LAYERS, MAP], ids=["layers", "map"])
def test_a_table_fits(
    sheet: Sheet, wide: bool, width: int, capsys: pytest.CaptureFixture[str]
) -> None:
    console.show_sheet(sheet, wide)
    check(sheet, capsys.readouterr().out, width, wide)


def test_without_a_terminal_everything_is_in_one_table(capsys: pytest.CaptureFixture[str]) -> None:
    for sheet in (LAYERS, MAP):
        console.show_sheet(sheet)
        lines = printed(capsys.readouterr().out)
        ((heading, body),) = grids(lines)
        assert heading == list(sheet.headings)
        assert [tuple(row) for row in body] == list(sheet.rows)
        assert lines[0] == sheet.caption


def test_a_table_that_is_wider_than_any_essential_column_continues_below(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "40")
    console.show_sheet(MAP)
    tables = list(grids(printed(capsys.readouterr().out)))
    assert len(tables) > 5
    assert all(
        head[0] == "bits" and [row[0] for row in body] == ["8", "6"] for head, body in tables
    )
    assert [name for head, _ in tables for name in head[1:]] == list(map(str, range(20)))


def test_names_stay_different() -> None:
    for width in range(25, 50):
        short = shortened_names(NAMES, width)
        assert len(set(short)) == len(NAMES)
        assert max(map(len, short)) <= width


def test_the_text_of_a_cell_does_not_disturb_the_table(
    capsys: pytest.CaptureFixture[str], width: int
) -> None:
    odd: list[Any] = ["\x1b[31mred", "[bold]x[/bold]", "ﾊﾞ漢字漢字漢字漢字漢字", "a\nb"]
    columns = (Column("name", (), kind="name"), Column("text", (), kind="text"), Column("n", ()))
    sheet = Sheet("\x1b[31mred", columns_of(columns, [(text, 3 * text, "1") for text in odd]))
    console.show_sheet(sheet)
    lines = capsys.readouterr().out
    assert "\\x1b[31mred" in lines
    assert {cell_len(line) for line in printed(lines) if line[:1] in "┏┃│└"} == {
        cell_len(next(line for line in printed(lines) if line.startswith("┏")))
    }
