"""The options of figures, on every command that draws one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib.image import imread

from cimsim.analysis.figures.look import Look
from cimsim.analysis.studies import STUDIES

Command = Callable[..., tuple[int, str, str]]
COMMANDS = sorted({study.command for study in STUDIES} | {"plot", "compare"})
LOOK = ("--size", "5x4in", "--dpi", "50", "--title", "Mine", "--format", "pdf")


@pytest.fixture
def run(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of this test's own, in the working folder."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained / "digital", tmp_path / "digital")
    return Path("digital")


@pytest.mark.parametrize("words", [*((name,) for name in COMMANDS), ("profiles", "curves")])
def test_every_command_with_a_figure_has_every_option(
    words: tuple[str, ...], cimsim: Command
) -> None:
    _, out, _ = cimsim(*words, "--help")
    for name in Look.model_fields:
        assert f"--{name} " in out, name


@pytest.mark.parametrize("words", [("budget", "--chips", "1"), ("cost", "--inputs", "2")])
def test_a_command_writes_its_figure_with_the_look(
    words: tuple[str, ...], cimsim: Command, run: Path
) -> None:
    name, *rest = words
    code, out, err = cimsim(name, run, *rest, *LOOK)
    assert code == 0, err
    (png,) = (run / name).glob("*.png")
    assert imread(png).shape[:2] == (200, 250)
    assert ">Mine</text>" in png.with_suffix(".svg").read_text(encoding="utf-8")
    assert png.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
    assert str(png.with_suffix(".pdf")) in out


def test_a_look_is_refused_before_anything_is_evaluated(cimsim: Command, run: Path) -> None:
    for option, value, text in (
        ("--size", "9y6", "size: must be a width and a height, such as 9x6cm"),
        ("--palette", "virids", "unknown palette 'virids'; did you mean 'viridis'?"),
        ("--labels", "A,B", "labels: the figure shows 1 run (digital), not A, B"),
        ("--format", "gif", "--format: must be pdf, svg or png, got ('gif',)"),
        ("--style", "none.mplstyle", "none.mplstyle: cannot be read"),
        ("--out", "a.txt", "a.txt: a figure is written as PNG and SVG, or as PDF"),
    ):
        code, _, err = cimsim("budget", run, "--chips", 1, option, value)
        assert (code, text in " ".join(err.split())) == (2, True), err
    assert not (run / "budget").exists()


def test_plot_writes_the_formats_that_are_named(cimsim: Command, run: Path) -> None:
    assert cimsim("sweep", run, "--over", "noise=0,1,2", "--chips", 2)[0] == 0
    code, out, err = cimsim("plot", run, "--out", "a.pdf", "--labels", "Mine", "--style", "ggplot")
    assert code == 0, err
    assert out.split() == ["a.pdf"]
    _, out, _ = cimsim("plot", run, "--out", "b.png", "--format", "svg", "--format", "pdf")
    assert out.split() == ["b.svg", "b.pdf"]
    assert ">digital</text>" in Path("b.svg").read_text(encoding="utf-8")
    _, out, _ = cimsim("plot", run)
    assert out.split() == ["accuracy_vs_noise.png", "accuracy_vs_noise.svg"]


def test_profiles_curves_are_drawn_with_the_look(
    cimsim: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = cimsim("profiles", "curves", "pcm-ibm-2020", "--out", "p.png", *LOOK)
    assert code == 0, err
    assert [path.name for path in tmp_path.iterdir()] == ["p.pdf"]
