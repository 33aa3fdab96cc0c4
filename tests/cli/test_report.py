"""``cimsim report`` from the command line."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., tuple[int, str, str]]


def test_a_page_is_written_and_replaced(cimsim: Command, trained: Path, tmp_path: Path) -> None:
    runs = shutil.copytree(trained, tmp_path / "runs")
    out = tmp_path / "new" / "report.html"
    named = ("report", runs / "digital", runs / "aware", runs / "digital", "--out", out)
    code, told, err = cimsim(*named)
    assert (code, told, err) == (0, f"{out}\n", "")
    page = out.read_text(encoding="utf-8")
    assert "<h1>digital, aware</h1>" in page
    assert cimsim(*named, "--title", "A < B")[0] == 0
    again = out.read_text(encoding="utf-8")
    assert "<h1>A &lt; B</h1>" in again
    assert again == page.replace("digital, aware</h1>", "A &lt; B</h1>").replace(
        "<title>digital, aware", "<title>A &lt; B"
    )


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["nowhere"], "no such folder: nowhere"),
        (["."], "is not a run"),
        (["digital", "--out", "report.png"], "choose a name ending in .html"),
    ],
)
def test_bad_input_is_one_clear_sentence(
    cimsim: Command,
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    args: list[str],
    told: str,
) -> None:
    shutil.copytree(trained / "digital", tmp_path / "digital")
    monkeypatch.chdir(tmp_path)
    code, out, err = cimsim("report", *args)
    assert (code, out) == (2, "")
    assert err.startswith("cimsim: error: ")
    assert told in err
    assert err.count("\n") == 1
    assert not list(tmp_path.glob("report.*"))
