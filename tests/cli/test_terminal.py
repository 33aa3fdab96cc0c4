"""What somebody else wrote is shown by every command as it is: no style, no escape, no formula."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from cimsim.cli import console
from tests.cli.conftest import Command

ROOT = Path(__file__).parents[2]
ODD = {
    "markup": "[/red] [bold]x[/bold] [link=file:///x]y",
    "formula": "a $x_1$ \\frac{ $",
    "escape": "\x1b[31mred\x1b]0;title\x1b\\\\",
    "c1": "\x9b31m",
    "turned": "\u202eabc\u2066",
}


def profile(folder: Path, text: str) -> Path:
    """A profile that has ``text`` wherever a profile has text."""
    word = json.dumps(text)
    file = folder / "odd.yaml"
    file.write_text(
        f"schema_version: 1\nextends: pcm-ibm-2020\nname: {word}\ntitle: {word}\n"
        f"description: {word}\nsources: {{{word}: {word}}}\ncell: {{technology: {word}}}\n"
        f"dac: {{bits: 4, source: {word}}}\n",
        encoding="utf-8",
    )
    return file


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        *(("profiles show FILE", kind) for kind in ODD),
        *(("profiles validate FILE", kind) for kind in ODD),
        *(("profiles curves FILE --out PICTURE", kind) for kind in ("formula", "escape")),
        *(("profiles curves FILE", kind) for kind in ODD),
    ],
)
def test_every_text_of_a_profile(cimsim: Command, tmp_path: Path, kind: str, command: str) -> None:
    file = profile(tmp_path, ODD[kind])
    picture = tmp_path / "picture.png"
    words = [{"FILE": file, "PICTURE": picture}.get(word, word) for word in command.split()]
    outcome = cimsim(*words)
    assert outcome.code == 0, outcome.err
    assert re.sub(r"[\n\t]", "", outcome.out + outcome.err).isprintable()
    if "show" in command:
        shown = console.printable(ODD[kind]).replace(" ", "")
        assert shown in re.sub(r"\s", "", outcome.out)
    if picture.exists():
        svg = picture.with_suffix(".svg").read_text(encoding="utf-8")
        assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(svg)


@pytest.mark.parametrize("kind", ODD)
def test_every_way_of_printing(capsys: pytest.CaptureFixture[str], kind: str) -> None:
    from rich.table import Table

    for way in (
        console.say,
        console.write,
        console.remark,
        console.log,
        console.fail,
        console.page,
    ):
        way(ODD[kind])
    table = Table("a", title=ODD[kind])
    table.add_row(ODD[kind])
    console.show(table)
    found = capsys.readouterr()
    assert re.sub(r"\n", "", found.out + found.err).isprintable()
    assert (found.out + found.err).count(console.printable(ODD[kind])) >= 6


def test_nothing_of_the_command_line_prints_otherwise() -> None:
    for path in (ROOT / "cimsim" / "cli").glob("*.py"):
        if path.name != "console.py":
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"typer\.echo|\bprint\(|[^.\w]Console\(", text), path


@pytest.mark.parametrize(
    "command",
    ["profiles", "models", "methods", "doctor", "profiles show pcm-ibm-2020"],
)
def test_no_line_of_a_file_ends_with_spaces(cimsim: Command, command: str) -> None:
    outcome = cimsim(*command.split())
    assert outcome.code == 0, outcome.err
    assert len(outcome.out.splitlines()) > 3
    ends = [line for line in outcome.out.splitlines() if line != line.rstrip()]
    assert not ends
