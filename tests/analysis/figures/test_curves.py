from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import matplotlib.image
import pytest
from matplotlib.axis import Axis as MatplotlibAxis
from matplotlib.figure import Figure
from matplotlib.text import Text

from cimsim.analysis.figures.canvas import save
from cimsim.analysis.figures.curves import Curve, draw
from cimsim.analysis.figures.theme import COLORS
from cimsim.analysis.sweeps.axis import parse_axis
from cimsim.analysis.sweeps.stats import summary
from cimsim.errors import CimsimError

CHIPS = [-0.02, -0.01, 0.0, 0.01]


def curve(label: str, over: str, chips: int = 4, digital: float = 0.98) -> Curve:
    levels = parse_axis(over).values
    means = [0.95 - 0.05 * i for i in range(len(levels))]
    return Curve(
        label,
        digital,
        tuple(
            summary(level, [mean + shift for shift in CHIPS[:chips]])
            for level, mean in zip(levels, means, strict=True)
        ),
    )


def figure_of(over: str, labels: list[str], chips: int = 4) -> Figure:
    return draw([curve(label, over, chips) for label in labels], parse_axis(over))


def texts(figure: Figure) -> list[str]:
    figure.canvas.draw()
    axes = figure.axes[0]
    every = [*figure.legends, axes.get_legend()]
    legends = [text for legend in every if legend is not None for text in legend.get_texts()]
    return [
        text.get_text().lstrip("\u200b")
        for text in [*axes.get_xticklabels(), axes.xaxis.label, axes.yaxis.label, *legends]
    ]


def test_a_curve_shows_mean_band_worst_and_digital_in_one_color() -> None:
    axes = figure_of("noise=0:2:1", ["a"]).axes[0]
    lines = {str(line.get_linestyle()): line for line in axes.lines}
    assert list(lines["-"].get_ydata()) == pytest.approx([94.5, 89.5, 84.5])
    assert list(lines["--"].get_ydata()) == pytest.approx([93.0, 88.0, 83.0])
    assert list(lines[":"].get_ydata()) == pytest.approx([98.0, 98.0])
    assert {line.get_color() for line in axes.lines} == {COLORS[0]}
    assert len(axes.collections) == 1


def test_points_are_joined_from_left_to_right_whatever_their_order() -> None:
    axes = figure_of("adc.bits=ideal,8,4", ["a"]).axes[0]
    mean = next(line for line in axes.lines if line.get_linestyle() == "-")
    assert list(mean.get_xdata()) == [4, 8, 12]
    assert list(mean.get_ydata()) == pytest.approx([84.5, 89.5, 94.5])


def test_axes_have_names_and_units() -> None:
    shown = texts(figure_of("adc.bits=ideal,8,6", ["a", "b"]))
    assert {"ADC resolution (bits)", "Test accuracy (%)", "6", "8", "ideal", "a", "b"} <= {*shown}
    assert "mean of 4 chips" in shown


def test_one_chip_has_neither_band_nor_worst() -> None:
    figure = figure_of("noise=0:2:1", ["a"], chips=1)
    assert not figure.axes[0].collections
    assert "worst chip" not in texts(figure)
    assert "one chip" in texts(figure)


def test_single_levels_stand_beside_each_other() -> None:
    axes = figure_of("noise=1", ["a", "b", "c"]).axes[0]
    places = {line.get_xdata()[0] for line in axes.lines if line.get_marker() in "osD"}
    assert len(places) == 3


@pytest.mark.parametrize(
    "label", ["_hidden", "cost$1$ $x", "%d {0} \\alpha", "[red]", "ünï 漢", "a" * 300, ""]
)
@pytest.mark.filterwarnings("ignore:Glyph")
def test_any_name_is_shown(label: str) -> None:
    shown = texts(figure_of("noise=0:1:1", [label, "b"]))
    if len(label) < 60:
        assert label in shown
    else:
        assert any(text.startswith("aaaa") and "…" in text and len(text) < 70 for text in shown)


@pytest.mark.parametrize(
    "over",
    [
        "noise=0:2:0.25",
        "noise=1",
        "time=0,1s,20s,1h,1d,2d,1w,1mo,1y,10y",
        "time=0:1y:1d",
        "time=0",
        "adc.bits=ideal,8,7,6,5,4,3,2",
        "array.drift_compensation=global,none",
        "cell.g_max_uS=0.1,1,10,100",
    ],
)
@pytest.mark.parametrize("runs", [1, 6])
def test_no_text_overlaps_another_or_leaves_the_picture(over: str, runs: int) -> None:
    labels = [f"run-{i}-with-quite-a-long-name-of-its-own" for i in range(runs)]
    figure = figure_of(over, labels)
    figure.canvas.draw()
    axes = figure.axes[0]
    shown = [
        *visible_ticks(axes.xaxis),
        *visible_ticks(axes.yaxis),
        axes.xaxis.label,
        axes.yaxis.label,
        *(text for legend in figure.legends for text in legend.get_texts()),
    ]
    boxes = [(text.get_text(), text.get_window_extent()) for text in shown]
    for i, (text, box) in enumerate(boxes):
        assert box.x0 >= 0, text
        assert box.y0 >= 0, text
        assert box.x1 <= figure.bbox.x1, text
        assert box.y1 <= figure.bbox.y1, text
        assert not any(box.overlaps(other) for _, other in boxes[i + 1 :]), text


def visible_ticks(axis: MatplotlibAxis) -> list[Text]:
    low, high = axis.get_view_interval()
    return [
        text
        for text, place in zip(axis.get_ticklabels(), axis.get_ticklocs(), strict=True)
        if low <= place <= high
    ]


def test_png_and_svg_are_written_and_reproducible(tmp_path: Path) -> None:
    figure = figure_of("noise=0:2:1", ["a"])
    png, svg = save(figure, tmp_path / "new" / "a.png")
    assert (png.name, svg.name) == ("a.png", "a.svg")
    assert matplotlib.image.imread(png).shape[1] == 1200
    assert svg.read_text().startswith("<?xml")
    again = save(figure_of("noise=0:2:1", ["a"]), tmp_path / "b.svg")
    assert [path.read_bytes() for path in again] == [png.read_bytes(), svg.read_bytes()]


@pytest.mark.parametrize("name", ["a.gif", "a", "a.v1"])
def test_other_formats_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(CimsimError, match=r"name ending in \.png"):
        save(figure_of("noise=1", ["a"]), tmp_path / name)


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CimsimError, match="cannot create the folder"):
        save(figure_of("noise=1", ["a"]), tmp_path / "file" / "a.png")


def test_nothing_to_draw_is_told() -> None:
    with pytest.raises(CimsimError, match="no finished level"):
        draw([Curve("a", 0.9, ())], parse_axis("noise=1"))


def test_pyplot_is_never_loaded() -> None:
    code = (
        "import cimsim.analysis.figures.curves, sys; assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
