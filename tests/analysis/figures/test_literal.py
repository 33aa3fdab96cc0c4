"""Names in a figure are shown as they are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cimsim.analysis.figures.canvas import as_text, save
from cimsim.analysis.figures.svg import inline_svg, themed_svg
from cimsim.errors import CimsimError

ROOT = Path(__file__).parents[3]


def figure(name: str) -> Figure:
    """One that has ``name`` wherever a figure has text."""
    made = Figure()
    FigureCanvasAgg(made)
    axes = made.add_subplot(title=name, xlabel=name, ylabel=name)
    axes.plot([1, 2], [1, 1000], label=as_text(name))
    axes.set_yscale("log")
    axes.set_xticks([1, 2], labels=[name, name])
    axes.annotate(name, (1, 1))
    axes.legend(title=name)
    made.suptitle(name)
    return made


@pytest.mark.parametrize(
    "name", ["$", "a $x_1$ b", "$\\frac{$", "\\$", "_$a$", "$$", "مرحبا $x$", "\x1b[31m$a$"]
)
def test_a_name_is_no_formula_and_breaks_no_picture(tmp_path: Path, name: str) -> None:
    shown = name.replace("\x1b", "\\x1b")
    svg = inline_svg(figure(name), "f-", "a label")
    assert svg.count(f">{shown}<") >= 7
    assert "10" in svg  # the numbers of the logarithmic axis, which are formulas
    png, _ = save(figure(name), tmp_path / "a.png")
    assert png.stat().st_size > 1000


def test_no_figure_is_written_otherwise() -> None:
    writers = {
        path.relative_to(ROOT).as_posix()
        for folder in ("cimsim", "analysis", "training")
        for path in (ROOT / folder).rglob("*.py")
        if re.search(r"\.savefig\(|print_figure", path.read_text(encoding="utf-8"))
    }
    assert writers == {"analysis/figures/canvas.py", "analysis/figures/svg.py"}


@pytest.mark.parametrize(
    "box", ["", "x", "0 0 1", "0 0 nan 1", "0 0 inf 1", "0 0 0 1", "0 0 -1 1", "0 0 1 1 1"]
)
def test_an_impossible_size_is_refused_in_words(box: str) -> None:
    text = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}"/>'
    with pytest.raises(CimsimError, match="is an SVG that cannot be shown: its viewBox is"):
        themed_svg(text, "f-", "a label")


def test_what_is_nested_too_deeply_is_refused_in_words() -> None:
    text = f'<svg xmlns="http://www.w3.org/2000/svg">{"<g>" * 50_000}{"</g>" * 50_000}</svg>'
    with pytest.raises(CimsimError, match="nested too deeply"):
        themed_svg(text, "f-", "a label")
