"""Curves in the terminal."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cimsim.cli.live import LiveWatcher, plotted, watcher

Command = Callable[..., tuple[int, str, str]]
_SHOWN = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def dots(lines: list[str]) -> int:
    return sum((ord(char) - 0x2800).bit_count() for line in lines for char in line)


def test_a_falling_line_goes_from_the_top_left_to_the_bottom_right() -> None:
    lines = plotted([(0, 7.0), (1, 3.5), (2, 0.0)], 2, width=4, height=2)
    assert lines == ["⠑⢄⠀⠀", "⠀⠀⠑⢄"]
    assert plotted([(1, 5.0)], 1, width=1, height=1) == ["⠈"]


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(-1e6, 1e6)), min_size=1, max_size=50),
    st.integers(1, 40),
    st.integers(1, 10),
)
def test_every_curve_fits(points: list[tuple[float, float]], width: int, height: int) -> None:
    lines = plotted(sorted(points), 1.0, width, height)
    assert [len(line) for line in lines] == [width] * height
    assert dots(lines) >= 1
    if len({y for _, y in points}) > 1:
        assert dots(lines) >= 4 * height  # joined: there is a dot at every height


def test_a_resumed_run_goes_on_with_its_curves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    (tmp_path / "metrics.jsonl").write_text(
        '{"epoch": 1, "train_loss": 7.5, "train_accuracy": 0.125}\n'
    )
    with LiveWatcher(2, tmp_path) as shown:
        shown.start(20, 10)
        shown.step(1, 2.5, 0.5, 10)
    text = _SHOWN.sub("", capsys.readouterr().err)
    for number in ("7.5000", "2.5000", "12.5", "50.0", "2 epochs"):
        assert number in text


def test_curves_only_where_somebody_watches(
    cimsim: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = ("train", "--profile", "ideal", "--epochs", 1, "--device", "cpu", "--live", "--out")
    code, _, err = cimsim(*training, tmp_path / "log")
    assert code == 0
    assert err.startswith("epoch 1/1: loss ")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert isinstance(watcher(1, tmp_path, live=True), LiveWatcher)
    code, out, err = cimsim(*training, tmp_path / "watched")
    assert code == 0
    assert "accuracy in %" in err
    assert "┤" in err
    assert "test accuracy" in out
