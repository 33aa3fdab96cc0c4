"""Accuracy (or another metric) over noise, time, bits or any other axis: a curve for each run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any, Literal, TypeAlias

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, NullLocator

from cimsim.analysis.figures.canvas import (
    Layout,
    Panels,
    as_text,
    drawn,
    part_of,
    style,
)
from cimsim.analysis.figures.look import USUAL, Look
from cimsim.analysis.figures.room import shorter
from cimsim.analysis.figures.theme import color, dashes, marker, quiet
from cimsim.analysis.labels import require_names
from cimsim.analysis.sweeps.axis import Axis
from cimsim.analysis.sweeps.axis_scale import Scale, scale_of
from cimsim.analysis.sweeps.metric import ACCURACY, Metric
from cimsim.analysis.sweeps.stats import Summary
from cimsim.errors import CimsimError

_WIDTH_IN = 8.0
_MOST_MARKERS = 30
_LONGEST_LABEL = 62
_MOST_COLUMNS, _ROW_CHARACTERS = 3, 100  # of the legend
_DECADE = 30.0  # perplexities that differ by more get a logarithmic axis
_MOST_BANDS = 2  # that can be seen through each other
_APART, _GAP = 0.012, 0.5  # of the axis, and at most of the distance of two levels
_WORDS = 0.08
_Spread: TypeAlias = Literal["band", "bars", "none"]


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
    look: Look = USUAL,
) -> Figure:
    """Draw the metric over ``axis``, one color and marker per curve.

    Mean over chips as a line with markers, the 95 % band over chips, the worst chip dashed, the
    digital model as a thin dotted line. More than two bands would hide each other: there each curve
    has error bars and a line style, side by side, and the digital models are marks at the left
    edge. Where levels cannot be joined (a single one, or words) the band is an error bar, too. A
    single curve needs no legend, and its name is the title.

    Args:
        curves: at least one, with at least one point.
        axis: the axis that they are over.
        metric: the metric that they show.
        banded: number of curves that have more than their mean, the first ones; all by default.
        of: what the curves belong to, see :func:`~cimsim.analysis.figures.canvas.part_of`.
        look: the look of the figure; its labels are the curves' names.

    Raises:
        CimsimError: if there is no point to draw, or an option of ``look`` cannot be used.
    """
    if look.names:
        require_names(look.names, [curve.label for curve in curves])
        pairs = zip(curves, look.names, strict=True)
        curves = [replace(curve, label=name) for curve, name in pairs]

    def on(panels: Panels) -> None:
        draw_on(panels, curves, axis, metric, banded, of)
        if len(curves) == 1:
            panels.title(curves[0].label)

    return drawn(layout_of(curves), on, look)


def layout_of(curves: Sequence[Curve]) -> Layout:
    """Layout of a figure of ``curves``."""
    rows = 0 if len(curves) == 1 else -(-len(curves) // _legend_columns(curves))
    return Layout(_WIDTH_IN, 4.8 + 0.26 * rows)


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
    bands = len(curves) if banded is None else min(banded, len(curves))
    crowded = bands > _MOST_BANDS
    step = _step(scale, len(curves)) if crowded or not scale.joined else 0.0
    for i, (number, curve) in enumerate(zip(numbered(curves), curves, strict=True)):
        several = i < bands and any(point.chips > 1 for point in curve.points)
        plot = _Plot(
            axes,
            scale,
            metric.factor,
            number,
            partial(part_of, number, of=of),
            moved=step * (i - (len(curves) - 1) / 2),
            spread="none" if not several else "bars" if crowded else "band",
        )
        plot.draw(curve, dashes(i) if crowded else "-", at_edge=crowded)
    _dress(axes, axis, scale, metric)
    _add_legends(panels, curves, scale, of, crowded)


def _step(scale: Scale, count: int) -> float:
    """The distance of neighboring curves; of logarithms on a logarithmic axis."""
    places = sorted(set(scale.positions.values()))
    if scale.log:
        places = [math.log(place) for place in places]
    if not scale.joined:
        return math.log(2) * _WORDS if scale.log else _WORDS
    gap = min(right - left for left, right in pairwise(places))
    return min(_APART * (places[-1] - places[0]), _GAP * gap / max(1, count - 1))


@dataclass(frozen=True)
class _Plot:
    """Draws a curve: where, and in which way.

    Attributes:
        moved: by how much it is moved to the right, see :func:`_step`.
        spread: how the chips are shown.
    """

    axes: Axes
    scale: Scale
    factor: float
    number: int
    name: Callable[[str], str]
    moved: float
    spread: _Spread

    def draw(self, curve: Curve, line: Any, at_edge: bool) -> None:
        """Draw ``curve``; ``at_edge`` is whether its digital metric is a mark at the left edge."""
        points = sorted(curve.points, key=lambda point: self.scale.positions[point.level])
        x = [self._place(self.scale.positions[point.level]) for point in points]
        mean, low, high, worst = (
            [self.factor * value for value in values]
            for values in zip(*((p.mean, p.low, p.high, p.worst) for p in points), strict=True)
        )
        self._digital(self.factor * curve.digital, at_edge)
        joined = self.scale.joined
        kind: dict[str, Any] = {"color": color(self.number)}
        every = -(-len(x) // _MOST_MARKERS)
        self.axes.plot(
            *(x, mean),
            linewidth=1.6 if self.spread == "bars" else 2,
            linestyle=line if joined else "none",
            marker=marker(self.number),
            markersize=5.5 if joined else 7,
            markevery=every,
            zorder=3,
            gid=self.name("mean"),
            **kind,
        )
        if self.spread == "band" and joined:
            look: dict[str, Any] = {"alpha": 0.16, "linewidth": 0, "gid": self.name("band"), **kind}
            self.axes.fill_between(x, low, high, **look)
            look = {"linewidth": 1.2, "linestyle": "--", "gid": self.name("worst"), **kind}
            self.axes.plot(x, worst, **look)
        elif self.spread != "none":
            thick = 1.1 if joined else 5
            look = {"alpha": 0.8 if joined else 0.35, "gid": self.name("band"), **kind}
            self.axes.vlines(x, low, high, linewidth=thick, **look)
            look = {"linestyle": "none", "marker": "_", "gid": self.name("worst"), **kind}
            self.axes.plot(x, worst, markersize=6 if joined else 11, **look)

    def _place(self, place: float) -> float:
        return place * math.exp(self.moved) if self.scale.log else place + self.moved

    def _digital(self, value: float, at_edge: bool) -> None:
        kind: dict[str, Any] = {"color": color(self.number), "gid": self.name("digital")}
        if not at_edge:
            self.axes.axhline(value, linewidth=1.1, linestyle=":", **kind)
            return
        place = self.axes.get_yaxis_transform()
        look: dict[str, Any] = {"transform": place, "clip_on": False, "zorder": 4, **kind}
        self.axes.plot(0, value, marker=">", markersize=6, alpha=0.8, **look)


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
    axes.set_xlabel(axis.title)
    axes.set_ylabel(metric.label)
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
    return max(1, min(len(curves), _MOST_COLUMNS, _ROW_CHARACTERS // (longest + 8)))


def _shortened(label: str) -> str:
    """The label with its middle left out where it is too long for the figure."""
    return shorter(label, _LONGEST_LABEL)


def _add_legends(
    panels: Panels, curves: Sequence[Curve], scale: Scale, of: str, crowded: bool
) -> None:
    numbers = numbered(curves)
    runs = [
        Line2D(
            *([], []),
            linewidth=1.6 if crowded else 2,
            linestyle="none" if not scale.joined else dashes(i) if crowded else "-",
            color=color(number),
            marker=marker(number),
        )
        for i, number in enumerate(numbers)
    ]
    if len(curves) > 1:
        legend = panels.legend(
            columns=_legend_columns(curves),
            handles=runs,
            labels=[as_text(_shortened(curve.label)) for curve in curves],
            handlelength=3.2 if crowded else 2.0,
        )
        name_legend(legend, numbers, of)
    if panels.alone:
        handles, labels = zip(*_style_key(curves, scale, crowded), strict=True)
        panels.key(handles, labels)


def name_legend(legend: Legend, numbers: Sequence[int], of: str = "run") -> None:
    """Name the entries of a legend after their curves, as :func:`part_of` does."""
    for number, handle, text in zip(
        numbers, legend.legend_handles, legend.get_texts(), strict=True
    ):
        text.set_gid(part_of(number, "name", of))
        if handle is not None:
            handle.set_gid(part_of(number, "key", of))


def _style_key(
    curves: Sequence[Curve], scale: Scale, crowded: bool
) -> Iterator[tuple[Artist, str]]:
    """A legend of the kinds of lines, in gray."""
    chips = max(point.chips for curve in curves for point in curve.points)
    gray = partial(Line2D, [], [], color=quiet())
    name = "one chip" if chips == 1 else f"mean of {chips} chips"
    yield gray(linewidth=2, linestyle="-" if scale.joined else "none", marker="o"), name
    bands = scale.joined and not crowded
    if chips > 1:
        bar = gray(linestyle="none", marker="|", markersize=11, markeredgewidth=1.4)
        patch = Patch(color=quiet(), alpha=0.25, linewidth=0)
        yield patch if bands else bar, "95 % of the chips"
        mark = gray(linestyle="none", marker="_", markersize=8)
        yield gray(linestyle="--") if bands else mark, "worst chip"
    edge = gray(linestyle="none", marker=">", markersize=6)
    yield edge if crowded else gray(linestyle=":", linewidth=1.1), "digital"
