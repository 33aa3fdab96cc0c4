"""Accuracy (or another metric) of several runs over noise, time, bits or any other axis, in one
figure."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, TypeAlias

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, NullLocator

from cimsim.analysis.levels import Axis
from cimsim.analysis.metric import ACCURACY, Metric
from cimsim.analysis.scale import Scale, scale_of
from cimsim.analysis.stats import Summary
from cimsim.errors import CimsimError
from cimsim.training.files import replacing

# Okabe & Ito, "Color Universal Design", 2008: told apart with any colour vision. No yellow, which
# is too faint for lines on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vPX"
_GREY = "#555555"
_WIDTH_IN = 8.0
_MOST_MARKERS = 30
_LONGEST_LABEL = 62
_DECADE = 30.0  # perplexities that differ by more want a logarithmic axis
_Style: TypeAlias = Literal["-", "--", "none"]


@dataclass(frozen=True)
class Curve:
    """One run in a figure: its name, its metric without any device, and one point per level."""

    label: str
    digital: float
    points: tuple[Summary, ...]


def draw(
    curves: Sequence[Curve], axis: Axis, metric: Metric = ACCURACY, banded: int | None = None
) -> Figure:
    """The metric over ``axis``, one colour per curve.

    Mean over chips as a line with markers, the 95 % band over chips, the worst chip dashed, the
    digital model as a thin dotted line. Where levels cannot be joined (a single one, or words)
    the band is an error bar. Only the first ``banded`` curves (all by default) get more than their
    mean.

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
    for i, curve in enumerate(curves):
        shift = (i - (len(curves) - 1) / 2) * 0.08
        band = banded is None or i < banded
        _draw_curve(axes, curve, scale, metric.factor, _colour(i), _marker(i), shift, band)
    _dress(axes, axis, scale, metric)
    _add_legends(figure, curves, scale, columns)
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
        path.parent.mkdir(parents=True, exist_ok=True)
        with matplotlib.rc_context({"svg.hashsalt": "cimsim"}), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph")  # a name in a script that the font lacks
            with replacing(png) as temporary:
                figure.savefig(temporary, format="png", dpi=150)
            with replacing(svg) as temporary:
                figure.savefig(temporary, format="svg", metadata={"Date": None})
    except OSError as error:
        raise CimsimError(
            f"{error.filename or path}: cannot be written ({error.strerror}); choose another --out"
        ) from None
    return png, svg


def _colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]


def _marker(index: int) -> str:
    return MARKERS[(index + index // len(COLOURS)) % len(MARKERS)]


def _draw_curve(
    axes: Axes,
    curve: Curve,
    scale: Scale,
    factor: float,
    colour: str,
    marker: str,
    shift: float,
    band: bool,
) -> None:
    points = sorted(curve.points, key=lambda point: scale.positions[point.level])
    x = [scale.positions[point.level] for point in points]
    mean, low, high, worst = (
        [factor * value for value in values]
        for values in zip(*((p.mean, p.low, p.high, p.worst) for p in points), strict=True)
    )
    axes.axhline(factor * curve.digital, color=colour, linewidth=1.1, linestyle=":")
    several = band and any(point.chips > 1 for point in points)
    if scale.joined:
        size = 5.5 if len(x) <= _MOST_MARKERS else 0
        axes.plot(x, mean, color=colour, linewidth=2, marker=marker, markersize=size, zorder=3)
        if several:
            axes.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0)
            axes.plot(x, worst, color=colour, linewidth=1.2, linestyle="--")
        return
    x = [place * 2**shift if scale.log else place + shift for place in x]
    axes.plot(x, mean, color=colour, linestyle="none", marker=marker, markersize=7, zorder=3)
    if several:
        axes.vlines(x, low, high, color=colour, alpha=0.35, linewidth=5)
        axes.plot(x, worst, color=colour, linestyle="none", marker="_", markersize=11)


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


def _as_text(label: str) -> str:
    """The label so that matplotlib shows it as it is: no formula, and not left out for its '_'."""
    escaped = label.replace("$", r"\$")
    return f"\N{ZERO WIDTH SPACE}{escaped}" if escaped.startswith("_") else escaped


def _add_legends(figure: Figure, curves: Sequence[Curve], scale: Scale, columns: int) -> None:
    line: _Style = "-" if scale.joined else "none"
    runs = [
        Line2D([], [], linewidth=2, linestyle=line, color=_colour(i), marker=_marker(i))
        for i in range(len(curves))
    ]
    figure.legend(
        handles=runs,
        labels=[_as_text(_shortened(curve.label)) for curve in curves],
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize=11,
    )
    handles, labels = zip(*_style_key(curves, scale), strict=True)
    figure.legend(
        handles=handles,
        labels=labels,
        loc="outside upper center",
        ncols=len(labels),
        frameon=False,
        fontsize=10,
        labelcolor=_GREY,
        columnspacing=1.6,
    )


def _style_key(curves: Sequence[Curve], scale: Scale) -> Iterator[tuple[Artist, str]]:
    """What each kind of line means, in grey."""
    chips = max(point.chips for curve in curves for point in curve.points)
    grey = partial(Line2D, [], [], color=_GREY)
    mean: _Style = "-" if scale.joined else "none"
    name = "one chip" if chips == 1 else f"mean of {chips} chips"
    yield grey(linewidth=2, linestyle=mean, marker="o"), name
    if chips > 1:
        yield Patch(color=_GREY, alpha=0.25, linewidth=0), "95 % of the chips"
        worst: _Style = "--" if scale.joined else "none"
        yield grey(linestyle=worst, marker="" if scale.joined else "_"), "worst chip"
    yield grey(linestyle=":", linewidth=1.1), "digital (no device)"
