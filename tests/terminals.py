"""Terminals of some width in tests, and what they show of a table."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from rich.cells import cell_len

from cimsim.analysis.sheet import Sheet

WIDTHS = (60, 80, 120)
_STYLES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def terminal(monkeypatch: pytest.MonkeyPatch, width: int) -> int:
    """Make stdout and stderr terminals of this width."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(width))
    return width


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


def check(sheet: Sheet, out: str, width: int, wide: bool = False, framed: bool = True) -> None:
    """What a terminal of ``width`` printed of ``sheet`` is whole, and complete if ``wide``; without
    a frame only its numbers are compared."""
    lines = printed(out)
    assert max(map(cell_len, lines)) <= width
    if not framed:
        words = set(" ".join(lines).split())
        numbers = (column for column in sheet.columns if column.kind == "number")
        kept = (column for column in numbers if column.essential or wide)
        assert words >= {word for column in kept for cell in column.cells for word in cell.split()}
        return
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
