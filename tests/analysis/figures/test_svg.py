"""Figures in a page: ids, colors, the places of values, and that nothing runs."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from matplotlib.figure import Figure

from cimsim.analysis.figures.canvas import part_of
from cimsim.analysis.figures.curves import Curve, draw
from cimsim.analysis.figures.svg import inline_svg, points_of, themed_svg
from cimsim.analysis.figures.theme import COLORS, color
from cimsim.analysis.sweeps.axis import parse_axis
from cimsim.analysis.sweeps.stats import summary
from cimsim.errors import CimsimError

NASTY = "<img src=x onerror=alert(1)> & $\\alpha$"


def figure(*labels: str) -> Figure:
    axis = parse_axis("noise=0:2:1")
    points = tuple(summary(level, [0.9, 0.8]) for level in axis.values)
    return draw([Curve(label, 0.95, points) for label in labels], axis)


def ids(svg: str) -> list[str]:
    return re.findall(r' id="([^"]+)"', svg)


def test_ids_differ_within_a_page_and_are_all_found() -> None:
    both = [inline_svg(figure("a", "b"), prefix, "x") for prefix in ("f1-", "f2-")]
    every = [name for svg in both for name in ids(svg)]
    assert len(every) == len(set(every)) > 20
    for svg in both:
        used = re.findall(r'href="#([^"]+)"', svg) + re.findall(r"url\(#([^)]+)\)", svg)
        assert used
        assert set(used) <= set(ids(svg))


def test_the_parts_of_a_run_are_marked_as_its_own() -> None:
    root = ElementTree.fromstring(inline_svg(figure("a", "b"), "f1-", "x"))
    for run in "01":
        marked = root.findall(f".//*[@data-run='{run}']")
        parts = {str(e.get("id")).removeprefix(f"f1-run-{run}-") for e in marked}
        assert parts == {"mean", "band", "worst", "digital", "key", "name"}


def test_text_is_text_and_takes_the_color_of_the_page() -> None:
    svg = inline_svg(figure(NASTY), "f1-", NASTY)
    assert "onerror=alert(1)&gt; &amp;" in svg
    assert "<img" not in svg
    assert "#000000" not in svg
    assert "#ffffff" not in svg
    assert "currentColor" in svg
    root = ElementTree.fromstring(svg)
    assert root.get("aria-label") == NASTY
    assert root.get("role") == "img"
    assert "Noise (multiple of the profile's)" in [text.text for text in root.iter("text")]


def test_the_same_figure_is_the_same_text() -> None:
    assert inline_svg(figure("a"), "f1-", "x") == inline_svg(figure("a"), "f1-", "x")


def test_points_stand_where_the_markers_are() -> None:
    drawn = figure("a")
    svg = inline_svg(drawn, "f1-", "x")
    points = points_of(drawn, {part_of(0, "mean"): ["zero", "one", "two"]})
    assert [(point.run, point.text) for point in points] == [(0, "zero"), (0, "one"), (0, "two")]
    root = ElementTree.fromstring(svg)
    mean = root.find(".//*[@id='f1-run-0-mean']")
    assert mean is not None
    uses = [(float(use.get("x", 0)), float(use.get("y", 0))) for use in mean.iter("use")]
    assert [(p.x, p.y) for p in points] == [pytest.approx(place, abs=0.06) for place in uses]


def test_a_line_without_texts_tells_its_numbers() -> None:
    drawn = Figure()
    axes = drawn.add_subplot(title="Drift", xlabel="t (s)", ylabel="G (µS)")
    axes.plot([1, 2], [3, 4], label="a cell")
    axes.plot([1, 2], [3, 4], label="_hidden")
    inline_svg(drawn, "f1-", "x")
    assert [p.text for p in points_of(drawn, {})] == [
        "Drift, a cell\nt (s): 1\nG (µS): 3",
        "Drift, a cell\nt (s): 2\nG (µS): 4",
    ]


def test_nothing_in_a_file_runs() -> None:
    evil = """<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"
     viewBox="0 0 10 10" onload="alert(1)"><script>alert(2)</script><style>*{display:none}</style>
     <foreignObject><body xmlns="http://www.w3.org/1999/xhtml"><b>x</b></body></foreignObject>
     <g onclick="alert(3)" style="fill: url(http://x.example/y#z)"><a href="javascript:alert(4)"/>
     <use xlink:href="http://x.example/#a"/><image href="https://x.example/a.png"/>
     <path id="p" d="M 0 0" style="fill: #000000"/></g></svg>"""
    svg = themed_svg(evil, "f1-", "x")
    for word in ("alert", "script", "foreign", "x.example", "onload", "onclick", "<style", "<a"):
        assert word not in svg
    assert 'id="f1-p"' in svg


def test_text_on_pictures_of_values_keeps_its_colors() -> None:
    drawn = Figure()
    axes = drawn.add_subplot()
    axes.imshow([[0.0, 1.0]])
    axes.text(0, 0, "dark", color="black")
    axes.text(1, 0, "bright", color="white")
    axes.set_xlabel("label")
    svg = inline_svg(drawn, "f1-", "x")
    assert 'class="plate"' not in svg
    groups = re.findall(r'<g id="f1-on-image-\d+" fill="#000000">.*?</g>', svg, re.S)
    assert [word for group in groups for word in ("dark", "bright") if word in group] == [
        "dark",
        "bright",
    ]
    assert all("currentColor" not in group for group in groups)
    assert "fill: #ffffff" in groups[1]


def test_a_file_with_an_image_keeps_its_colors_on_white() -> None:
    image = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><image/>{}</svg>'
    svg = themed_svg(image.format('<path style="fill: #000000"/>'), "f1-", "x")
    assert 'class="plate"' in svg
    assert "currentColor" not in svg


def test_a_figure_of_one_run_has_the_color_of_the_run() -> None:
    drawn = Figure()
    axes = drawn.add_subplot()
    first, second = axes.plot([0, 1], color=color(0))[0], axes.plot([1, 0], color=color(2))[0]
    first.set_gid("first")
    second.set_gid("second")

    def colors(run: int | None) -> list[str]:
        svg = inline_svg(drawn, "f1-", "x", run)
        strokes = (
            re.search(rf'id="f1-{name}".*?stroke: (#\w+)', svg, re.S)
            for name in ("first", "second")
        )
        return [stroke[1].upper() for stroke in strokes if stroke]

    assert colors(None) == colors(0) == [color(0), color(2)]
    assert colors(2) == [color(2), color(0)]  # they change places, so that no two are equal
    assert colors(1) == [color(1), color(2)]
    assert colors(len(COLORS)) == [color(0), color(2)]


@pytest.mark.parametrize("text", ["", "not xml", "<html/>"])
def test_other_files_are_refused(text: str) -> None:
    with pytest.raises(CimsimError, match="is not an SVG"):
        themed_svg(text, "f1-", "x")
