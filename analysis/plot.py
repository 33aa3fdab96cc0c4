"""Accuracy (or another metric) of several runs over noise, time, bits or any other axis, in one
figure."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis as Axis_
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, FixedLocator, Formatter, FuncFormatter, NullLocator

from cimsim.analysis.levels import Axis
from cimsim.analysis.metric import ACCURACY, Metric
from cimsim.analysis.scale import Scale, scale_of
from cimsim.analysis.stats import Summary
from cimsim.errors import CimsimError
from cimsim.terminal import printable
from cimsim.training.files import make_folder, replacing

# Okabe & Ito, "Color Universal Design", 2008: told apart with any color vision. No yellow, which
# is too faint for lines on white.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vPX"
_GRAY = "#555555"
_WIDTH_IN = 8.0
_MOST_MARKERS = 30
_LONGEST_LABEL = 62
_DECADE = 30.0  # perplexities that differ by more want a logarithmic axis
_Style: TypeAlias = Literal["-", "--", "none"]


@dataclass(frozen=True)
class Curve:
    """One run in a figure: its name, its metric without any device, and one point per level.

    ``number`` decides color and marker, so that a run looks the same in several figures; by
    default it is the curve's place in the figure.
    """

    label: str
    digital: float
    points: tuple[Summary, ...]
    number: int | None = None


def numbered(curves: Sequence[Curve]) -> list[int]:
    """The number of each curve."""
    return [i if curve.number is None else curve.number for i, curve in enumerate(curves)]


def part_of(number: int, part: str, of: str = "run") -> str:
    """The name (``gid``) that a part of curve ``number`` has in a figure's SVG; ``of`` is what the
    curves are of.

    >>> part_of(2, "mean")
    'run-2-mean'
    """
    return f"{of}-{number}-{part}"


def name_points(axes: Axes, x: Sequence[float], y: Sequence[float], name: str) -> None:
    """Points that cannot be seen, at which a report tells values: of bars, cells or clouds, which
    have no line whose ``gid`` could be ``name``."""
    axes.add_line(Line2D(x, y, linestyle="none", gid=name))


def draw(
    curves: Sequence[Curve],
    axis: Axis,
    metric: Metric = ACCURACY,
    banded: int | None = None,
    of: str = "run",
) -> Figure:
    """The metric over ``axis``, one color per curve.

    Mean over chips as a line with markers, the 95 % band over chips, the worst chip dashed, the
    digital model as a thin dotted line. Where levels cannot be joined (a single one, or words)
    the band is an error bar. Only the first ``banded`` curves (all by default) get more than their
    mean. ``of`` says what the curves are of, see :func:`part_of`.

    Raises:
        CimsimError: if there is no point to draw.
    """
    levels = [point.level for curve in curves for point in curve.points]
    if not levels:
        raise CimsimError("there is no finished level to draw; finish the sweep first")
    scale = scale_of(axis, levels)
    columns = _legend_columns(curves)
    rows = -(-len(curves) // columns)
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08)
    figure = Figure(figsize=(_WIDTH_IN, 4.6 + 0.26 * rows), layout=layout)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for i, (number, curve) in enumerate(zip(numbered(curves), curves, strict=True)):
        shift = (i - (len(curves) - 1) / 2) * 0.08
        band = banded is None or i < banded
        _draw_curve(
            axes, curve, scale, metric.factor, number, partial(part_of, number, of=of), shift, band
        )
    _dress(axes, axis, scale, metric)
    _add_legends(figure, curves, scale, columns, of)
    return figure


def save(figure: Figure, path: Path) -> tuple[Path, Path]:
    """Write the figure as PNG (150 dpi) and SVG beside each other; the same figure, the same bytes.

    Raises:
        CimsimError: if ``path`` ends in neither .png nor .svg, or cannot be written.
    """
    if path.suffix.lower() not in (".png", ".svg"):
        raise CimsimError(
            f"{path}: a picture is written as PNG and SVG; give a name ending in .png"
        )
    png, svg = path.with_suffix(".png"), path.with_suffix(".svg")
    try:
        make_folder(path.parent)
        literal(figure)
        with matplotlib.rc_context({"svg.hashsalt": "cimsim"}), unusual_scripts():
            with replacing(png) as temporary:
                figure.savefig(temporary, format="png", dpi=150)
            with replacing(svg) as temporary:
                figure.savefig(temporary, format="svg", metadata={"Date": None})
    except OSError as error:
        raise CimsimError(
            f"{error.filename or path}: cannot be written ({error.strerror}); choose another --out"
        ) from None
    return png, svg


@contextmanager
def unusual_scripts() -> Iterator[None]:
    """Within the block, matplotlib does not warn of names in a script that its font lacks."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph|Matplotlib currently does not support")
        yield


def color(index: int) -> str:
    """Of the curve with that number."""
    return COLORS[index % len(COLORS)]


def marker(index: int) -> str:
    """Of the curve with that number; another one where colors repeat."""
    return MARKERS[(index + index // len(COLORS)) % len(MARKERS)]


def _draw_curve(
    axes: Axes,
    curve: Curve,
    scale: Scale,
    factor: float,
    number: int,
    name: Callable[[str], str],
    shift: float,
    banded: bool,
) -> None:
    points = sorted(curve.points, key=lambda point: scale.positions[point.level])
    x = [scale.positions[point.level] for point in points]
    mean, low, high, worst = (
        [factor * value for value in values]
        for values in zip(*((p.mean, p.low, p.high, p.worst) for p in points), strict=True)
    )
    style: dict[str, Any] = {"color": color(number)}
    digital = axes.axhline(factor * curve.digital, linewidth=1.1, linestyle=":", **style)
    digital.set_gid(name("digital"))
    several = banded and any(point.chips > 1 for point in points)
    main = {**style, "marker": marker(number), "zorder": 3, "gid": name("mean")}
    if scale.joined:
        size = 5.5 if len(x) <= _MOST_MARKERS else 0
        axes.plot(x, mean, linewidth=2, markersize=size, **main)
        if several:
            axes.fill_between(x, low, high, alpha=0.16, linewidth=0, gid=name("band"), **style)
            axes.plot(x, worst, linewidth=1.2, linestyle="--", gid=name("worst"), **style)
        return
    x = [place * 2**shift if scale.log else place + shift for place in x]
    axes.plot(x, mean, linestyle="none", markersize=7, **main)
    if several:
        axes.vlines(x, low, high, alpha=0.35, linewidth=5, gid=name("band"), **style)
        axes.plot(x, worst, linestyle="none", marker="_", markersize=11, gid=name("worst"), **style)


def _dress(axes: Axes, axis: Axis, scale: Scale, metric: Metric) -> None:
    if scale.log:
        axes.set_xscale("log")
    if scale.ticks:
        axes.xaxis.set_major_locator(FixedLocator([x for x, _ in scale.ticks]))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticklabels([text for _, text in scale.ticks])
    if not scale.joined:
        low, high = min(scale.positions.values()), max(scale.positions.values())
        axes.set_xlim((low / 2, high * 2) if scale.log else (low - 0.6, high + 0.6))
    axes.set_xlabel(axis.title, fontsize=12)
    axes.set_ylabel(metric.label, fontsize=12)
    axes.tick_params(labelsize=11)
    axes.grid(alpha=0.25, linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    bottom, top = axes.get_ylim()
    if metric.unit == "%":
        if top - bottom < 1:
            bottom, top = (bottom + top) / 2 - 0.5, (bottom + top) / 2 + 0.5
        axes.set_ylim(max(bottom, -2), min(top, 101))
    elif metric.falls and top > _DECADE * max(bottom, 1.0):
        axes.set_yscale("log")


def _legend_columns(curves: Sequence[Curve]) -> int:
    longest = max(len(_shortened(curve.label)) for curve in curves)
    return max(1, min(len(curves), 3, _LONGEST_LABEL // (longest + 5)))


def _shortened(label: str) -> str:
    """The label with its middle left out where it is too long for the figure."""
    if len(label) <= _LONGEST_LABEL:
        return label
    half = _LONGEST_LABEL // 2
    return f"{label[: half - 1]}…{label[-half:]}"


def as_text(label: str) -> str:
    """The label so that a legend does not leave it out for its '_'."""
    return f"\N{ZERO WIDTH SPACE}{label}" if label.startswith("_") else label


def literal(figure: Figure) -> Figure:
    """``figure`` with its texts shown as they are: a '$' begins no formula.

    Names in it come from files that somebody else may have made. Only numbers at an axis, which
    matplotlib writes itself, may be formulas.
    """
    written_by_matplotlib = {id(text) for axis in _axis_of(figure) for text in _numbers_at(axis)}
    for axis in _axis_of(figure):
        named = axis.get_major_formatter()
        if isinstance(named, _NAMED):
            axis.set_major_formatter(FuncFormatter(partial(_printable_name, named)))
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        if id(text) not in written_by_matplotlib:
            text.set_parse_math(False)
            text.set_text(printable(text.get_text()))
    return figure


_NAMED = (FixedFormatter, FuncFormatter)


def _printable_name(named: Formatter, place: float, position: int | None) -> str:
    return printable(named(place, position))


def _axis_of(figure: Figure) -> Iterator[Axis_]:
    for axes in figure.axes:
        yield from (axes.xaxis, axes.yaxis)


def _numbers_at(axis: Axis_) -> Iterator[Text]:
    yield axis.get_offset_text()
    labels = axis.get_ticklabels(which="both")  # which also makes them, where there were none
    if not isinstance(axis.get_major_formatter(), _NAMED):
        yield from labels


def _add_legends(
    figure: Figure, curves: Sequence[Curve], scale: Scale, columns: int, of: str
) -> None:
    line: _Style = "-" if scale.joined else "none"
    numbers = numbered(curves)
    runs = [
        Line2D([], [], linewidth=2, linestyle=line, color=color(i), marker=marker(i))
        for i in numbers
    ]
    legend = figure.legend(
        handles=runs,
        labels=[as_text(_shortened(curve.label)) for curve in curves],
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize=11,
    )
    name_legend(legend, numbers, of)
    handles, labels = zip(*_style_key(curves, scale), strict=True)
    figure.legend(
        handles=handles,
        labels=labels,
        loc="outside upper center",
        ncols=len(labels),
        frameon=False,
        fontsize=10,
        labelcolor=_GRAY,
        columnspacing=1.6,
    )


def name_legend(legend: Legend, numbers: Sequence[int], of: str = "run") -> None:
    """Name the entries of a legend after their curves, as :func:`part_of` does."""
    for number, handle, text in zip(
        numbers, legend.legend_handles, legend.get_texts(), strict=True
    ):
        text.set_gid(part_of(number, "name", of))
        if handle is not None:
            handle.set_gid(part_of(number, "key", of))


def _style_key(curves: Sequence[Curve], scale: Scale) -> Iterator[tuple[Artist, str]]:
    """What each kind of line means, in gray."""
    chips = max(point.chips for curve in curves for point in curve.points)
    gray = partial(Line2D, [], [], color=_GRAY)
    mean: _Style = "-" if scale.joined else "none"
    name = "one chip" if chips == 1 else f"mean of {chips} chips"
    yield gray(linewidth=2, linestyle=mean, marker="o"), name
    if chips > 1:
        yield Patch(color=_GRAY, alpha=0.25, linewidth=0), "95 % of the chips"
        worst: _Style = "--" if scale.joined else "none"
        yield gray(linestyle=worst, marker="" if scale.joined else "_"), "worst chip"
    yield gray(linestyle=":", linewidth=1.1), "digital (no device)"
