"""Figures as SVG within a page of HTML.

Figures share one page: so their ids must differ, they take text color and background from it, and
nothing in a file from elsewhere may run.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from xml.etree import ElementTree

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cimsim.analysis.figures.canvas import literal, unusual_scripts
from cimsim.analysis.figures.theme import color
from cimsim.errors import CimsimError
from cimsim.suggest import shortened

_SVG, _XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}"
_DRAWING = frozenset(
    "svg g defs path use text tspan clipPath rect circle ellipse line polyline polygon image "
    "linearGradient radialGradient stop pattern marker symbol".split()
)
_THEME = {"#000000": "currentColor", "#555555": "var(--quiet, #707070)"}
_WHITE = "#ffffff"
_ON_IMAGE = "on-image"
_LARGEST = 1.4  # pixels for a unit of the drawing
_POINTS = 24  # of one line that show their values
_DPI = 72  # of SVG


class Point(NamedTuple):
    """A place in a figure with a text: x and y in units of the SVG's ``viewBox``."""

    x: float
    y: float
    run: int | None
    text: str


def inline_svg(figure: Figure, prefix: str, label: str, run: int | None = None) -> str:
    """Return ``figure`` as an ``<svg>`` element without background.

    Its text is text. Names (``gid``) of the form ``run-N-…`` become an attribute ``data-run``.

    Args:
        figure: the figure.
        prefix: prefix of every id, so that figures on one page do not mix.
        label: description of the figure for screen readers.
        run: number of the only run that the figure shows; it gets the color that it has in figures
            of several runs, and that color and the first one change places.
    """
    text = io.StringIO()
    figure.set_dpi(_DPI)
    literal(figure)
    _name_what_is_on_images(figure)
    with (
        matplotlib.rc_context({"svg.hashsalt": "cimsim", "svg.fonttype": "none"}),
        unusual_scripts(),
    ):
        figure.savefig(text, format="svg", metadata={"Date": None}, transparent=True)
    return themed_svg(_in_color_of(text.getvalue(), run or 0), prefix, label, named=True)


def _name_what_is_on_images(figure: Figure) -> None:
    """Name texts and lines on cells of a heat map, whose color was chosen for these cells."""
    number = 0
    for axes in figure.axes:
        if axes.images or any(isinstance(one, QuadMesh) for one in axes.collections):
            on_it = [one for one in axes.collections if not isinstance(one, QuadMesh)]
            for artist in (*axes.texts, *axes.lines, *on_it):
                if artist.get_gid() is None:
                    number += 1
                    artist.set_gid(f"{_ON_IMAGE}-{number}")


def _in_color_of(text: str, run: int) -> str:
    first, own = (color(number).lower() for number in (0, run))
    places = {first: own} if own in _THEME else {first: own, own: first}
    pattern = "|".join(map(re.escape, places))
    return re.sub(pattern, lambda match: places[match[0].lower()], text, flags=re.IGNORECASE)


def themed_svg(text: str, prefix: str, label: str, named: bool = False) -> str:
    """Return the SVG file ``text`` as an element for a page, with nothing but drawing.

    Args:
        text: the file.
        prefix: prefix of every id.
        label: description of the figure for screen readers.
        named: whether texts whose color was chosen for an image below them are named so. Without
            names, a figure with images keeps its colors, on white.

    Raises:
        CimsimError: if it is not an SVG.
    """
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise CimsimError(f"is not an SVG: {error}") from None
    if root.tag != f"{_SVG}svg":
        raise CimsimError("is not an SVG")
    box = root.get("viewBox", "0 0 576 432")
    width = _width(box)
    themed = named or root.find(f".//{_SVG}image") is None
    try:
        _clean(root, prefix, themed, patch=False)
    except RecursionError:
        raise CimsimError("is an SVG that cannot be shown: it is nested too deeply") from None
    root.attrib.clear()
    root.attrib.update({"viewBox": box, "role": "img", "aria-label": label})
    root.set("style", f"max-width: {_LARGEST * width:.0f}px")
    if not themed:
        root.set("class", "plate")
    return ElementTree.tostring(root, encoding="unicode")


def _width(box: str) -> float:
    """The width of a ``viewBox``.

    Raises:
        CimsimError: if it is not four numbers, or has no size.
    """
    try:
        _, _, width, height = map(float, box.replace(",", " ").split())
    except ValueError:
        width = height = math.nan
    if not (0 < width < math.inf and 0 < height < math.inf):
        raise CimsimError(f"is an SVG that cannot be shown: its viewBox is '{shortened(box)}'")
    return width


def _clean(element: ElementTree.Element, prefix: str, themed: bool, patch: bool) -> None:
    """Keep what draws, without namespaces; ``patch`` is whether the element is a background."""
    element.tag = element.tag.removeprefix(_SVG)
    name = element.get("id", "")
    patch = patch or name.startswith("patch")
    themed = themed and not name.startswith(_ON_IMAGE)
    element.attrib = dict(_attributes(element, prefix, themed, patch and element.tag == "path"))
    if name.startswith(_ON_IMAGE):
        element.set("fill", "#000000")  # which matplotlib does not write
    number = re.match(r"run-(\d+)-", name)
    if number:
        element.set("data-run", number[1])
    for child in list(element):
        if str(child.tag).removeprefix(_SVG) in _DRAWING:
            _clean(child, prefix, themed, patch)
        else:
            element.remove(child)


def _attributes(
    element: ElementTree.Element, prefix: str, themed: bool, patch: bool
) -> list[tuple[str, str]]:
    kept = []
    for key, value in element.attrib.items():
        key = key.removeprefix(_XLINK)
        if key == "id":
            value = prefix + value
        elif key == "href":
            if not value.startswith(("#", "data:image/png;base64,")):
                continue
            value = re.sub(r"^#", f"#{prefix}", value)
        elif key.startswith(("on", "{")):
            continue
        elif themed and key in ("style", "fill", "stroke"):
            value = _recolored(value, patch)
        value = re.sub(r"url\((?!#)[^)]*\)", "none", value)
        value = value.replace("url(#", f"url(#{prefix}")
        kept.append(
            (key, re.sub(r"(font:[^;']*?[\d.]+px) [^;]*", r"\1 system-ui, sans-serif", value))
        )
    return kept


def _recolored(value: str, patch: bool) -> str:
    for shade, name in _THEME.items():
        value = value.replace(shade, name)
    return value.replace(_WHITE, "none") if patch else value


def points_of(figure: Figure, texts: Mapping[str, Sequence[str]]) -> list[Point]:
    """Return the points of a figure that :func:`inline_svg` has drawn, with their texts.

    Args:
        figure: drawn just before.
        texts: texts of the points of the lines with that name (``gid``); others have none.
            If empty, some points of every line that has a label show it, x and y.
    """
    height = figure.bbox.height
    points = []
    for axes in figure.axes:
        for line in axes.get_lines():
            own = texts.get(str(line.get_gid()), ())
            chosen = np.arange(len(_numbers(line)) if own else 0)
            if not texts:
                chosen, own = _some(line, axes)
            places = axes.transData.transform(_numbers(line))[chosen]
            for (x, y), text in zip(places.tolist(), own, strict=True):
                if np.isfinite([x, y]).all():
                    points.append(Point(round(x, 1), round(height - y, 1), _run(line), text))
    return points


def _run(artist: Artist) -> int | None:
    number = re.match(r"run-(\d+)-", str(artist.get_gid()))
    return int(number[1]) if number else None


def _numbers(line: Line2D) -> np.ndarray:
    numbers: np.ndarray = line.get_xydata()  # type: ignore[assignment]
    return numbers


def _some(line: Line2D, axes: Axes) -> tuple[np.ndarray, list[str]]:
    label, count = str(line.get_label()), len(_numbers(line))
    if label.startswith("_") or count < 2:
        return np.arange(0), []
    chosen = np.unique(np.linspace(0, count - 1, min(count, _POINTS)).astype(int))
    quantity = axes.get_title() or axes.get_ylabel()
    return chosen, [
        f"{quantity}, {label}\n{axes.get_xlabel()}: {x:.4g}\n{axes.get_ylabel()}: {y:.4g}"
        for x, y in _numbers(line)[chosen].tolist()
    ]
