"""Tables fit the terminal: whole numbers, whole headings, and a line about what is left out."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from cimsim.analysis.sheet import Column, Sheet, columns_of
from cimsim.cli import console, main
from cimsim.cli.tables import FRAMED, Look, shortened_names
from tests.fitting import truth
from tests.terminals import WIDTHS, check, grids, printed, terminal

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


@pytest.fixture(params=WIDTHS)
def width(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Stdout is a terminal of this width."""
    return terminal(monkeypatch, request.param)


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
    terminal(monkeypatch, 40)
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


MODULES = {path.stem: path.read_text() for path in Path(console.__file__).parent.glob("*.py")}
EXAMPLES = {
    "doctor": ["doctor"],
    "methods": ["methods"],
    "models": ["models"],
    "profiles": [
        "profiles list",
        "profiles curves pcm-ibm-2020",
        "profiles curves reram-wan-2022 --t 1s,1d",
        "profiles new mine --from-csv measured.csv --force",
    ],
    "sweep": ["sweep RUNS --over noise=0,8 --chips 2", "sweep RUNS --over time=1s,1y --chips 1"],
    "compare": [
        "compare --profile pcm-ibm-2020 --methods digital,noise-aware+rule=output-ste --epochs 1 "
        "--over noise=0:4:0.5 --chips 2 --limit 200 --out COMPARED"
    ],
    "train": [
        "train --profile pcm-ibm-2020 --noise auto --epochs 1 --limit 600 --out searched-for-noise"
    ],
    "studies": [],  # each of them in tests/analysis/studies/test_study.py
}


def test_there_is_an_example_of_every_command_that_prints_a_table() -> None:
    printing = {name for name, text in MODULES.items() if "console.show_sheet(" in text}
    assert printing == set(EXAMPLES)
    for name in sorted(MODULES.keys() - {"tables", "console", "live", "profiles"}):
        assert "rich.table" not in MODULES[name]  # the cells would be split anywhere


@pytest.fixture(scope="module")
def places(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Folders that the commands at all widths share."""
    folder = tmp_path_factory.mktemp("tables")
    shutil.copytree(trained, folder / "a-folder-of-runs-with-a-long-name")
    runs = [f"a-folder-of-runs-with-a-long-name/{name}" for name in ("digital", "aware")]
    truth.write(folder / "measured.csv", truth.rows(0, cells=40))
    return {"RUNS": " ".join(runs), "COMPARED": "compared", "HERE": str(folder)}


@pytest.mark.parametrize("command", [line for lines in EXAMPLES.values() for line in lines])
def test_the_tables_of_a_command(
    command: str,
    places: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(places["HERE"])
    shown: list[tuple[Sheet, Look]] = []

    def recorded(sheet: Sheet, wide: bool = False, look: Look = FRAMED) -> None:
        shown.append((sheet, look))

    words = " ".join(places.get(word, word) for word in command.split()).split()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(console, "show_sheet", recorded)
        with pytest.raises(SystemExit, match="0"):
            main(words)
    assert shown
    capsys.readouterr()
    for width, wide, (sheet, look) in itertools.product(WIDTHS, (False, True), shown):
        terminal(monkeypatch, width)
        console.show_sheet(sheet, wide, look)
        framed = look.borders and look.headings
        check(sheet, capsys.readouterr().out, width, wide, framed)
