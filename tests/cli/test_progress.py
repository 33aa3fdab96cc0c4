"""Progress in a terminal: whole counts, shortened names, and notes on lines of their own."""

from __future__ import annotations

import re
import warnings

import pytest
from rich.cells import cell_len

from cimsim.analysis.evaluation import FINISHED_BEFORE
from cimsim.cli import _show_warning, console
from cimsim.cli.live import LiveWatcher
from cimsim.cli.progress import counted
from cimsim.cli.watcher import Watcher
from cimsim.errors import CimsimWarning

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
NAME = "bert-of-a-long-name, cell.programming_noise.state-dependent=0.5, adc.bits=8"


@pytest.fixture(params=[60, 80, 120])
def width(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Stderr is a terminal of this width."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(request.param))
    columns: int = request.param
    return columns


def states(err: str) -> list[str]:
    """Every line and every state of the bar that was shown."""
    return [line.rstrip() for line in re.split(r"[\r\n]+", _CONTROL.sub("", err)) if line.strip()]


def test_counts_are_whole_and_names_are_shortened(
    width: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with counted("budget", 10) as progress:
        progress(0, 12345, FINISHED_BEFORE)
        progress(677, 12345, NAME)
        progress(678, 12345, NAME)
    first, *_, last = states(capsys.readouterr().err)
    assert first.startswith("preparing budget")
    assert max(map(cell_len, (first, last))) <= width
    assert "678/12345" in last
    assert last.startswith("bert-")
    assert re.search(r"bits=8 ", last)
    assert last.endswith(" left")
    assert "…" in last or width == 120
    assert ("trials/s" in last) == (width >= 100)


@pytest.mark.parametrize("kind", ["bar", "curves"])
def test_a_note_is_on_a_line_of_its_own(
    width: int, kind: str, tmp_path_factory: pytest.TempPathFactory,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    run = tmp_path_factory.mktemp("run")
    with Watcher(5) if kind == "bar" else LiveWatcher(5, run) as watcher:
        watcher.start(50, 10)
        watcher.note("resumed at epoch 2, step 3")
        watcher.step(1, 0.5, 0.9, 1)
        console.log("a line")
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            warnings.simplefilter("always")
            warnings.warn("a warning", CimsimWarning, stacklevel=1)
        watcher.step(1, 0.5, 0.9, 1)
    lines = states(capsys.readouterr().err)
    for text in ("cimsim: note: resumed at epoch 2, step 3", "a line", "cimsim: note: a warning"):
        assert lines.count(text) == 1
    assert all(cell_len(line) <= width for line in lines)
    assert any(line.startswith("epoch 2/5") and "loss 0.5000" in line for line in lines)
    console.log("after it")
    assert capsys.readouterr().err == "after it\n"
