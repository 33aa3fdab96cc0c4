"""The look of figures: every option on every figure, and room for every text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from matplotlib import style as styles
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import imread

from cimsim.analysis.figures import canvas, theme
from cimsim.analysis.figures.curves import Curve, draw
from cimsim.analysis.figures.look import Look, LookKeywords, look_of
from cimsim.analysis.figures.profile_curves import draw_profile
from cimsim.analysis.figures.training import Training, draw_training
from cimsim.analysis.shown import Shown
from cimsim.analysis.studies import STUDIES
from cimsim.analysis.study import StudyResult
from cimsim.analysis.sweeps.axis import parse_axis
from cimsim.analysis.sweeps.stats import summary
from cimsim.errors import CimsimError
from cimsim.profile import load_profile
from tests.analysis.figures.readable import require_readable, texts_of

LONG = "a-run-with-a-very-long-name-of-the-kind-that-people-give-2026-11-26-lr0.001-seed42"
SINGLE_COLUMN: LookKeywords = {"size": (3.5, 2.6)}
OPTIONS: list[LookKeywords] = [
    {"dpi": 60},
    {"size": "12x9cm"},
    {"font": "DejaVu Serif 9"},
    {"title": "My own title"},
    {"title": "none"},
    {"labels": ["Mine"]},
    {"palette": "gray"},
    {"style": "dark_background"},
]


@pytest.fixture(scope="module", params=STUDIES, ids=[study.name for study in STUDIES])
def result(request: pytest.FixtureRequest, studied: Path) -> Any:
    """A result of each study that is registered."""
    return request.param.read_file(request.param.paths(studied)[0])


def with_label(result: Shown, name: str) -> LookKeywords:
    one_run = isinstance(result, StudyResult) and "," not in result.facts.run
    return {"labels": [name]} if one_run else {}


def sizes(figure: Figure) -> list[float]:
    return figure.get_size_inches().tolist()


def curve(label: str, number: int = 0, over: str = "noise=0:3:1") -> Curve:
    points = [
        summary(level, [0.9 - 0.05 * i - 0.01 * chip - 0.01 * number for chip in range(4)])
        for i, level in enumerate(parse_axis(over).values)
    ]
    return Curve(label, 0.93 - 0.01 * number, tuple(points))


def curves(count: int, over: str = "noise=0:3:1", name: str = "run") -> list[Curve]:
    return [curve(f"{name}-{i}", i, over) for i in range(count)]


# Every study


def test_every_text_has_its_room(result: Shown) -> None:
    require_readable(result.figure())
    require_readable(result.figure(**SINGLE_COLUMN, **with_label(result, LONG)))  # type: ignore[misc]


@pytest.mark.long
@pytest.mark.parametrize("size", ["9x6cm", "5x3in", "25x8cm", "33.9x19.1cm"])
@pytest.mark.parametrize("name", ["a", LONG])
def test_every_text_has_its_room_in_any_size(result: Shown, size: str, name: str) -> None:
    require_readable(result.figure(size=size, **with_label(result, name)))  # type: ignore[misc]


def test_all_options_at_once(result: Shown, tmp_path: Path) -> None:
    look: LookKeywords = {
        "format": ["pdf", "svg", "png"],
        "dpi": 100,
        "size": (5, 4),
        "font": "DejaVu Serif 8",
        "title": "My own title",
        "palette": ["#112233", "#445566"],
        "style": "dark_background",
        **with_label(result, "Mine"),  # type: ignore[misc]
    }
    files = result.save(tmp_path / "new" / "figure.png", **look)
    assert [path.suffix for path in files] == [".pdf", ".svg", ".png"]
    pixels = imread(files[2])
    assert pixels.shape[:2] == (400, 500)
    assert pixels[0, 0, :3].tolist() == [0, 0, 0]
    svg = files[1].read_text()
    assert "DejaVu Serif" in svg
    written = texts_in(svg)
    assert "My own title" in written
    assert {words.strip() for words in shown(result.figure(**look))} <= written
    assert b"/FontType 3" not in files[0].read_bytes()


def texts_in(svg: str) -> set[str]:
    root = ElementTree.fromstring(svg)
    parts = root.iter("{http://www.w3.org/2000/svg}text")
    return {" ".join("".join(text.itertext()).split()) for text in parts}


def shown(figure: Figure) -> set[str]:
    """The lines of all texts; numbers along an axis may be formulas."""
    figure.draw_without_rendering()
    lines = (line for text in texts_of(figure) for line in text.get_text().splitlines())
    return {" ".join(line.split()) for line in lines if "$" not in line}


@pytest.mark.long
@pytest.mark.parametrize("look", OPTIONS, ids=lambda look: str(next(iter(look.items()))))
def test_each_option_changes_each_figure_alike_every_time(
    result: Shown, look: LookKeywords, tmp_path: Path
) -> None:
    if "labels" in look and not with_label(result, "x"):
        pytest.skip("the figure of several runs, or of none")
    if look.get("title") == "none" and not result.figure().get_suptitle():
        pytest.skip("a figure without a title")
    usual = [path.read_bytes() for path in result.save(tmp_path / "usual.png")]
    first = result.save(tmp_path / "a.png", format=("png", "svg", "pdf"), **look)  # type: ignore[misc]
    again = result.save(tmp_path / "b.png", format=("png", "svg", "pdf"), **look)  # type: ignore[misc]
    assert [a.read_bytes() for a in first] == [b.read_bytes() for b in again]
    assert first[0].read_bytes() != usual[0]


# Every option


def test_every_option_has_a_keyword_in_python() -> None:
    assert set(LookKeywords.__annotations__) == set(Look.model_fields)
    with pytest.raises(CimsimError, match="a figure has no option hue; its options are format"):
        look_of({"hue": "red"})


@pytest.mark.parametrize(
    ("size", "inches"),
    [
        ("9x6cm", (9 / 2.54, 6 / 2.54)),
        ("3.5x2.6", (3.5, 2.6)),
        ("3.5 x 2.6 in", (3.5, 2.6)),
        ("90x60mm", (90 / 25.4, 60 / 25.4)),
        ((4, 3), (4, 3)),
        ("10cm", (10 / 2.54, None)),
    ],
)
def test_sizes_have_units(size: Any, inches: Any) -> None:
    assert look_of({"size": size}).inches == pytest.approx(inches)


def test_a_width_alone_keeps_the_proportions() -> None:
    width, height = sizes(draw(curves(1), parse_axis("noise=0:3:1")))
    assert sizes(draw(curves(1), parse_axis("noise=0:3:1"), look=Look(size="4in"))) == (
        pytest.approx([4, 4 * height / width])
    )


@pytest.mark.parametrize(
    ("look", "text"),
    [
        ({"size": "9y6"}, "size: must be a width and a height, such as 9x6cm"),
        ({"size": "9x6px"}, "size: must be a width and a height, such as 9x6cm"),
        ({"size": "9..5x6cm"}, "size: must be a width and a height, such as 9x6cm"),
        ({"size": "900x6in"}, "each side must be from 1 to 60 inches"),
        ({"size": "50x5in", "dpi": 1000}, "at most 30,000 pixels"),
        ({"size": "1x1in"}, "size: 1 x 1 inches is too small for the texts of this figure; use a"),
        ({"dpi": 5}, "dpi: input should be greater than or equal to 20, not 5"),
        ({"format": "gif"}, "format: must be pdf, svg or png, not 'gif'"),
        ({"font": "Nothing Sans"}, "font: unknown font 'Nothing Sans'"),
        ({"font": "serif 200"}, "its size must be from 2 to 100 points"),
        ({"palette": "virids"}, "palette: unknown palette 'virids'; did you mean 'viridis'?"),
        ({"palette": "red,bluu"}, "palette: 'bluu' is not a color"),
        ({"palette": []}, "palette: there are no colors"),
        ({"style": "ggplt"}, "unknown style 'ggplt'; did you mean 'ggplot'.*or use a file"),
        ({"labels": "a,b"}, r"labels: the figure shows 1 run \(run-0\), not a, b; use a diff"),
    ],
)
def test_what_no_figure_can_look_like(look: dict[str, Any], text: str, tmp_path: Path) -> None:
    with pytest.raises(CimsimError, match=text):
        draw(curves(1), parse_axis("noise=0:3:1"), look=look_of(look))
    assert not list(tmp_path.iterdir())


def test_labels_name_runs_and_may_contain_commas() -> None:
    figure = draw(curves(2), parse_axis("noise=0:3:1"), look=Look(labels='"A, first", B'))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["A, first", "B"]
    single = draw(curves(1), parse_axis("noise=0:3:1"), look=Look(labels="A"))
    assert single.get_suptitle() == "A"
    assert not single.legends


def test_a_title_is_the_own_one_or_none() -> None:
    axis = parse_axis("noise=0:3:1")
    assert draw(curves(1), axis, look=Look(title="Mine")).get_suptitle() == "Mine"
    assert draw(curves(1), axis, look=Look(title="none")).get_suptitle() == ""
    assert draw(curves(2), axis, look=Look(title="Mine")).get_suptitle() == "Mine"


@pytest.mark.parametrize(
    ("palette", "colors"),
    [
        ("gray", ("#000000", "#8C8C8C")),
        ("okabe-ito", theme.COLORS[:2]),
        ("tab10", ("#1f77b4", "#ff7f0e")),
        ("red,#00ff00", ("#ff0000", "#00ff00")),
        (["red", "lime"], ("#ff0000", "#00ff00")),
    ],
)
def test_a_palette_gives_the_colors_of_runs(palette: Any, colors: tuple[str, ...]) -> None:
    figure = draw(curves(2), parse_axis("noise=0:3:1"), look=look_of({"palette": palette}))
    means = [line for line in figure.axes[0].lines if line.get_linestyle() == "-"]
    assert [line.get_color() for line in means] == list(colors)
    assert theme.color(0) == theme.COLORS[0]  # nothing stays


def test_a_map_has_the_colormap_of_the_palette(studied: Path) -> None:
    (study,) = (study for study in STUDIES if study.name == "map")
    result = study.read_file(study.paths(studied)[0])
    for palette, name in ((None, "cividis"), ("gray", "gray"), ("viridis", "viridis")):
        mesh = result.figure(palette=palette).axes[0].collections[0]
        assert mesh.get_cmap().name == name


# Styles


def style(tmp_path: Path, text: str) -> str:
    path = tmp_path / "own.mplstyle"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_style_file_sets_fonts_lines_colors_and_size(tmp_path: Path) -> None:
    own = style(
        tmp_path,
        "# mine\nfont.size: 7\naxes.facecolor: '#eeeeee'  # light\nfigure.figsize: 5, 4\n"
        "savefig.dpi: 90\naxes.prop_cycle: cycler('color', ['k', 'aa0000'])\naxes.grid: False\n"
        "axes.spines.top: True\n",
    )
    figure = draw(curves(2), parse_axis("noise=0:3:1"), look=look_of({"style": own}))
    axes = figure.axes[0]
    assert sizes(figure) == [5, 4]
    assert figure.dpi == 90
    assert to_rgb(axes.get_facecolor()) == pytest.approx(to_rgb("#eeeeee"))
    assert axes.xaxis.get_ticklabels()[0].get_fontsize() == 7
    assert {to_rgb(line.get_color()) for line in axes.lines} == {to_rgb("k"), to_rgb("#aa0000")}
    assert axes.spines["top"].get_visible()
    assert not any(line.get_visible() for line in axes.get_xgridlines())
    assert matplotlib.rcParams["font.size"] == 10


def test_later_styles_and_options_count(tmp_path: Path) -> None:
    own = style(tmp_path, "font.size: 7\n")
    look = look_of({"style": ["dark_background", own], "font": 9})
    figure = draw(curves(2), parse_axis("noise=0:3:1"), look=look)
    assert to_rgb(figure.get_facecolor()) == (0, 0, 0)
    assert figure.axes[0].xaxis.get_ticklabels()[0].get_fontsize() == 9


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lines.linewidth 3", "own.mplstyle:1: 'lines.linewidth 3' is not a line 'key: value'"),
        ("\nlines.linewidth: thick", "own.mplstyle:2: 'thick' is not a value of lines.linewidth"),
        ("lines.linewith: 3", "unknown setting 'lines.linewith'; did you mean 'lines.linewidth'?"),
        (
            "axes.prop_cycle: cycler('color', [__import__('os')])",
            "is not a value of axes.prop_cycle",
        ),
        ("axes.prop_cycle: open('x', 'w')", "is not a value of axes.prop_cycle"),
        ("axes.prop_cycle: cycler(color=['r'] * 10**9)", "is not a value of axes.prop_cycle"),
        ("text.usetex: True", "text.usetex runs LaTeX"),
        ("axes.facecolor: " + "(" * 5000, "is not a value of axes.facecolor"),
    ],
)
def test_a_broken_style_is_one_sentence_and_runs_nothing(
    tmp_path: Path, text: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own = style(tmp_path, text)
    with pytest.raises(CimsimError, match=message.replace("(", r"\(").replace("?", r"\?")) as told:
        draw(curves(1), parse_axis("noise=0:3:1"), look=look_of({"style": own}))
    assert "\n" not in str(told.value)
    assert [path.name for path in tmp_path.iterdir()] == ["own.mplstyle"]


def test_a_style_cannot_choose_programs_folders_or_back_ends(tmp_path: Path) -> None:
    own = style(
        tmp_path,
        "backend: TkAgg\nanimation.ffmpeg_path: /bin/false\nsavefig.directory: /\n"
        "text.latex.preamble: \\input{/etc/passwd}\nsavefig.format: gif\nsvg.fonttype: path\n",
    )
    before = dict(matplotlib.rcParams)
    look = look_of({"style": own})
    with theme.applied(look):
        changed = {k for k, v in matplotlib.rcParams.items() if str(v) != str(before[k])}
    assert not changed & {"backend", "animation.ffmpeg_path", "savefig.directory"}
    assert not changed & {"text.latex.preamble", "savefig.format"}
    assert matplotlib.rcParams["backend"] == before["backend"]
    (svg,) = canvas.save(
        draw(curves(2), parse_axis("noise=0:3:1"), look=look),
        tmp_path / "a.svg",
        Look(format=("svg",)),
    )
    assert "run-1" in texts_in(svg.read_text())


@pytest.mark.parametrize("name", ["missing.mplstyle", "binary.mplstyle", "folder.mplstyle"])
def test_a_file_that_is_no_style(tmp_path: Path, name: str) -> None:
    (tmp_path / "binary.mplstyle").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "folder.mplstyle").mkdir()
    with pytest.raises(CimsimError, match=name):
        draw(curves(1), parse_axis("noise=0:3:1"), look=look_of({"style": str(tmp_path / name)}))


@pytest.mark.long
@pytest.mark.parametrize("name", styles.available)
def test_every_installed_style_can_be_used(name: str) -> None:
    require_readable(draw(curves(3), parse_axis("noise=0:3:1"), look=look_of({"style": name})))


# Figures of several runs


def test_two_bands_are_bands_and_more_are_bars_side_by_side() -> None:
    axis = parse_axis("noise=0:3:1")
    two = draw(curves(2), axis).axes[0]
    assert [type(part).__name__ for part in two.collections] == ["FillBetweenPolyCollection"] * 2
    five = draw(curves(5), axis).axes[0]
    assert {type(part).__name__ for part in five.collections} == {"LineCollection"}
    means = [line for line in five.lines if str(line.get_gid()).endswith("-mean")]
    assert len({line.get_xdata()[0] for line in means}) == 5
    assert len({line.get_marker() for line in means}) == 5
    assert len({str(line._unscaled_dash_pattern) for line in means}) == 5  # type: ignore[attr-defined]
    moved = [abs(line.get_xdata() - np.arange(4)).max() for line in means]
    assert max(moved) < 0.25


@pytest.mark.parametrize("over", ["noise=0:3:1", "time=1s,1h,1d,1y", "adc.bits=ideal,8,6,4"])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_runs_have_room_at_a_single_column(over: str, count: int) -> None:
    look = look_of(SINGLE_COLUMN)
    for name in ("r", LONG):
        require_readable(draw(curves(count, over, name), parse_axis(over), look=look))


def test_trainings_and_profiles_have_room() -> None:
    epochs = [{"epoch": i, "train_loss": 1 / i, "train_accuracy": 1 - 1 / i} for i in range(1, 5)]
    for count in (1, 5):
        trainings = [Training(f"{LONG}-{i}", i, epochs) for i in range(count)]
        for look in (Look(), look_of(SINGLE_COLUMN)):
            require_readable(draw_training(trainings, look))
    profile = load_profile("pcm-ibm-2020")
    for look in (Look(), Look(size="16x12cm")):
        require_readable(draw_profile(profile, [5.0, 15.0, 25.0], [1.0, 3600.0], look))


# Results


def test_a_result_on_own_axes_takes_colors_and_labels(studied: Path) -> None:
    from matplotlib import pyplot

    (study,) = (study for study in STUDIES if study.name == "life")
    result = study.read_file(study.paths(studied)[0])
    _, axes = pyplot.subplots()
    assert result.plot(axes, palette="red,lime", labels=["Mine"]) is axes
    assert "Mine on" in axes.get_title(loc="left")
    assert "#ff0000" in {line.get_color() for line in axes.lines}
    alone = result.plot(title="Own", size=(4, 3))
    assert sizes(alone.figure) == [4, 3]
    assert alone.figure.get_suptitle() == "Own"
    pyplot.close("all")


def test_json_is_the_same_whatever_the_look(studied: Path, tmp_path: Path) -> None:
    (study,) = (study for study in STUDIES if study.name == "budget")
    result = study.read_file(study.paths(studied)[0])
    first = result.save(tmp_path / "a", labels=["Mine"], format="pdf")
    assert {path.suffix for path in first} == {".json", ".csv", ".png", ".svg", ".pdf"}
    again = result.save(tmp_path / "b")
    assert json.loads(first[0].read_text()) == json.loads(again[0].read_text())
