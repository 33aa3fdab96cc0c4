"""Accuracy (or another metric) over noise, time, bits or any other axis: a curve for each run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeAlias

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, NullLocator

from cimsim.analysis.figures.canvas import (
    GRAY,
    Layout,
    Panels,
    as_text,
    color,
    drawn,
    marker,
    part_of,
    style,
)
from cimsim.analysis.sweeps.axis import Axis
from cimsim.analysis.sweeps.axis_scale import Scale, scale_of
from cimsim.analysis.sweeps.metric import ACCURACY, Metric
from cimsim.analysis.sweeps.stats import Summary
from cimsim.errors import CimsimError

_WIDTH_IN = 8.0
_MOST_MARKERS = 30
_LONGEST_LABEL = 62
_DECADE = 30.0  # perplexities that differ by more get a logarithmic axis
_Style: TypeAlias = Literal["-", "--", "none"]


@dataclass(frozen=True)
class Curve:
    """One run in a figure: its name, its digital metric, and one point per level.

    ``number`` selects color and marker, so that a run looks the same in several figures; by
    default it is the curve's place in the figure.
    """

    label: str
    digital: float
    points: tuple[Summary, ...]
    number: int | None = None


def numbered(curves: Sequence[Curve]) -> list[int]:
    """The number of each curve."""
    return [i if curve.number is None else curve.number for i, curve in enumerate(curves)]


def draw(
    curves: Sequence[Curve],
    axis: Axis,
    metric: Metric = ACCURACY,
    banded: int | None = None,
    of: str = "run",
) -> Figure:
    """Draw the metric over ``axis``, one color per curve.

    Mean over chips as a line with markers, the 95 % band over chips, the worst chip dashed, the
    digital model as a thin dotted line. Where levels cannot be joined (a single one, or words)
    the band is an error bar. Only the first ``banded`` curves (all by default) get more than their
    mean. ``of`` is what the curves belong to, see
    :func:`~cimsim.analysis.figures.canvas.part_of`.

    Raises:
        CimsimError: if there is no point to draw.
    """
    return drawn(
        layout_of(curves), lambda panels: draw_on(panels, curves, axis, metric, banded, of)
    )


def layout_of(curves: Sequence[Curve]) -> Layout:
    """Layout of a figure of ``curves``."""
    rows = -(-len(curves) // _legend_columns(curves))
    return Layout(_WIDTH_IN, 4.6 + 0.26 * rows)


def draw_on(
    panels: Panels,
    curves: Sequence[Curve],
    axis: Axis,
    metric: Metric = ACCURACY,
    banded: int | None = None,
    of: str = "run",
) -> None:
    """Draw on the axes of ``panels``, see :func:`draw`."""
    levels = [point.level for curve in curves for point in curve.points]
    if not levels:
        raise CimsimError("there is no finished level to draw; finish the sweep first")
    scale = scale_of(axis, levels)
    (axes,) = panels.axes
    for i, (number, curve) in enumerate(zip(numbered(curves), curves, strict=True)):
        shift = (i - (len(curves) - 1) / 2) * 0.08
        band = banded is None or i < banded
        _draw_curve(
            axes, curve, scale, metric.factor, number, partial(part_of, number, of=of), shift, band
        )
    _dress(axes, axis, scale, metric)
    _add_legends(panels, curves, scale, of)


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
    kind: dict[str, Any] = {"color": color(number)}
    digital = axes.axhline(factor * curve.digital, linewidth=1.1, linestyle=":", **kind)
    digital.set_gid(name("digital"))
    several = banded and any(point.chips > 1 for point in points)
    main = {**kind, "marker": marker(number), "zorder": 3, "gid": name("mean")}
    if scale.joined:
        size = 5.5 if len(x) <= _MOST_MARKERS else 0
        axes.plot(x, mean, linewidth=2, markersize=size, **main)
        if several:
            axes.fill_between(x, low, high, alpha=0.16, linewidth=0, gid=name("band"), **kind)
            axes.plot(x, worst, linewidth=1.2, linestyle="--", gid=name("worst"), **kind)
        return
    x = [place * 2**shift if scale.log else place + shift for place in x]
    axes.plot(x, mean, linestyle="none", markersize=7, **main)
    if several:
        axes.vlines(x, low, high, alpha=0.35, linewidth=5, gid=name("band"), **kind)
        axes.plot(x, worst, linestyle="none", marker="_", markersize=11, gid=name("worst"), **kind)


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
    style(axes)
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


def _add_legends(panels: Panels, curves: Sequence[Curve], scale: Scale, of: str) -> None:
    line: _Style = "-" if scale.joined else "none"
    numbers = numbered(curves)
    runs = [
        Line2D([], [], linewidth=2, linestyle=line, color=color(i), marker=marker(i))
        for i in numbers
    ]
    legend = panels.legend(
        columns=_legend_columns(curves),
        handles=runs,
        labels=[as_text(_shortened(curve.label)) for curve in curves],
        fontsize=11,
    )
    name_legend(legend, numbers, of)
    if not panels.alone:
        return
    handles, labels = zip(*_style_key(curves, scale), strict=True)
    panels.figure.legend(
        handles=handles,
        labels=labels,
        loc="outside upper center",
        ncols=len(labels),
        frameon=False,
        fontsize=10,
        labelcolor=GRAY,
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
    """A legend of the kinds of lines, in gray."""
    chips = max(point.chips for curve in curves for point in curve.points)
    gray = partial(Line2D, [], [], color=GRAY)
    mean: _Style = "-" if scale.joined else "none"
    name = "one chip" if chips == 1 else f"mean of {chips} chips"
    yield gray(linewidth=2, linestyle=mean, marker="o"), name
    if chips > 1:
        yield Patch(color=GRAY, alpha=0.25, linewidth=0), "95 % of the chips"
        worst: _Style = "--" if scale.joined else "none"
        yield gray(linestyle=worst, marker="" if scale.joined else "_"), "worst chip"
    yield gray(linestyle=":", linewidth=1.1), "digital"
