"""Accuracy against cost: every evaluated design, and the fronts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal, get_args

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from cimsim.analysis.figures.canvas import (
    Layout,
    Panels,
    as_text,
    name_points,
    style,
)
from cimsim.analysis.figures.theme import color, ink, marker, quiet
from cimsim.analysis.studies.designs import Point
from cimsim.analysis.studies.explore import DESIGNS, Exploration
from cimsim.quantities import Scale, plain_number, scale_of

_NEAR = (0.05, 0.045)  # of the axes: where two numbers would overlap
_SHORT = 8  # largest ratio of costs on a short axis
_MOST_LISTED = 30  # designs in the list beside the figure; those on the fronts always are
_Line = Literal["-", "--", "-.", ":"]
_LINES: tuple[_Line, ...] = get_args(_Line)
_ROW_IN = 0.19  # height of a line in the list


def layout_of(result: Exploration) -> Layout:
    """Layout of the figure, with space for the list of designs."""
    rows = len(_listed(result)) + 2 * len(result.fronts)
    return Layout(11.0, max(5.0 + 0.24 * len(_kinds(result)), 1.4 + _ROW_IN * rows))


def _kinds(result: Exploration) -> list[str]:
    return list(dict.fromkeys(point.kind for point in result.points))


def _listed(result: Exploration) -> tuple[Point, ...]:
    """The designs that have a number in the figure: all, or those on the fronts."""
    return result.numbered if len(result.points) <= _MOST_LISTED else result.front


def draw_front(panels: Panels, result: Exploration) -> None:
    """Draw the metric over the cost: a mark for each design, one color for each run and profile.

    Steps join each front: a design at least that good costs as much as the step shows. Designs have
    a number, which the list beside the figure explains; those on a front are large and have the
    95 % interval of their mean.
    """
    kinds = _kinds(result)
    (axes,) = panels.axes
    metric, cost = result.facts.measured, result.objective
    scale = scale_of((cost.of(point) for point in result.points), cost.unit)
    places = {
        id(point): (cost.of(point) / scale.size, metric.factor * point.score.mean)
        for point in result.points
    }
    for index, kind in enumerate(kinds):
        points = [p for p in result.points if p.kind == kind]
        for on_front, size, alpha in ((False, 30, 0.4), (True, 60, 1.0)):
            some = [places[id(p)] for p in points if p.on_front == on_front]
            axes.scatter(
                [x for x, _ in some],
                [y for _, y in some],
                s=size,
                alpha=alpha,
                color=color(index),
                marker=marker(index),
                linewidths=0,
                zorder=3,
            )
    digital = metric.factor * result.facts.digital
    axes.axhline(digital, color=quiet(), linewidth=1.1, linestyle=":")
    axes.set_xscale("log")
    ordered = [places[id(point)] for point in result.points]
    name_points(axes, [x for x, _ in ordered], [y for _, y in ordered], DESIGNS)
    for line, front in zip(_LINES, result.fronts.values(), strict=False):
        _draw_steps(axes, front, [places[id(point)] for point in front], result, line)
    _write_numbers(axes)
    _write_labels(axes, result, places)
    axes.set_xlabel(scale.heading(cost.title))
    axes.set_ylabel(metric.label)
    style(axes)
    panels.legend(columns=2, handles=_keys(result, kinds))
    if panels.alone:
        _list_designs(panels, result, kinds, scale)


def _keys(result: Exploration, kinds: Sequence[str]) -> list[Line2D]:
    """The legend: runs and profiles, fronts, and the digital model."""
    keys = [
        _mark(index, as_text(f"{kind}: {prices}" if prices else kind))
        for index, kind in enumerate(kinds)
        for prices in [next(p.prices for p in result.points if p.kind == kind)]
    ]
    for line, name in zip(_LINES, result.fronts, strict=False):
        label = f"front, {name}" if name and len(result.fronts) > 1 else "front"
        keys.append(Line2D([], [], color=quiet(), linewidth=1.3, linestyle=line, label=label))
    keys.append(Line2D([], [], color=quiet(), linewidth=1.1, linestyle=":", label="digital"))
    return keys


def _mark(index: int, label: str) -> Line2D:
    look: dict[str, Any] = {"color": color(index), "marker": marker(index), "linestyle": "none"}
    return Line2D([], [], markersize=7, markeredgewidth=0, label=label, **look)


def _list_designs(panels: Panels, result: Exploration, kinds: Sequence[str], scale: Scale) -> None:
    """List the designs beside the figure: number, changes, cost and metric."""
    metric, cost = result.facts.measured, result.objective
    handles = []
    numbers = {id(point): n for n, point in enumerate(result.numbered, start=1)}

    def entry(point: Point) -> Line2D:
        what = point.changes or point.kind
        costs, score = scale.text(cost.of(point)), point.score.with_unit(metric)
        handle = _mark(kinds.index(point.kind), f"{numbers[id(point)]}  {what}: {costs}, {score}")
        handle.set_alpha(1.0 if point.on_front else 0.4)
        return handle

    for name, points in result.fronts.items():
        title = f"On the front, {name}" if name else "On the front"
        handles += [_words(title), *map(entry, points)]
    others = [point for point in _listed(result) if not point.on_front]
    if others:
        handles += [_words("Not better than a cheaper design"), *map(entry, others)]
    legend = panels.figure.legend(handles=handles, loc="outside right upper", fontsize="small")
    for text in legend.get_texts():
        if text.get_text().startswith(("On the front", "Not better")):
            text.set_fontweight("bold")


def _words(text: str) -> Line2D:
    return Line2D([], [], linestyle="none", label=text)


def _write_numbers(axes: Axes) -> None:
    """Write plain numbers along a logarithmic axis, more of them if it is short."""
    low, high = axes.get_xlim()
    steps = (
        (1.0, 2.0, 5.0) if high > _SHORT * low else (1.0, 1.2, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0)
    )
    axes.xaxis.set_major_locator(LogLocator(subs=steps))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: plain_number(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _draw_steps(
    axes: Axes,
    points: Sequence[Point],
    places: Sequence[tuple[float, float]],
    result: Exploration,
    line: _Line,
) -> None:
    metric = result.facts.measured
    x, y = [x for x, _ in places], [y for _, y in places]
    axes.step(x, y, where="post", color=quiet(), linewidth=1.3, linestyle=line, zorder=2)
    axes.errorbar(
        x,
        y,
        yerr=[point.score.error(metric) for point in points],
        fmt="none",
        ecolor=quiet(),
        capsize=3,
        linewidth=1.1,
        zorder=2,
    )


def _write_labels(axes: Axes, result: Exploration, places: dict[int, tuple[float, float]]) -> None:
    """Write the numbers of the designs: in bold above those on a front, small below the others."""
    better = -1 if result.facts.measured.falls else 1  # no other design is near on that side
    listed, first = _listed(result), 1
    for on_front in (True, False):
        some = [point for point in listed if point.on_front == on_front]
        for numbers, place in _labels(axes, [places[id(p)] for p in some], first):
            axes.annotate(
                numbers,
                place,
                xytext=(7, 9 * better) if on_front else (-4, -8 * better),
                ha="left" if on_front else "right",
                textcoords="offset points",
                fontsize="medium" if on_front else "small",
                fontweight="bold" if on_front else "normal",
                color=ink() if on_front else quiet(),
                va="center",
            )
        first += len(some)


def _labels(
    axes: Axes, places: Sequence[tuple[float, float]], first: int
) -> Iterator[tuple[str, tuple[float, float]]]:
    """The numbers of points and their places; near points share the place of the last one."""
    width, height = (
        abs(float(np.diff(limits)[0])) for limits in (np.log(axes.get_xlim()), axes.get_ylim())
    )
    groups: list[tuple[list[str], tuple[float, float]]] = []
    for number, (x, y) in enumerate(places, start=first):
        for index, (numbers, (left, low)) in enumerate(groups):
            space = _NEAR[0] * width * (1 + len(numbers)) / 2
            if abs(math.log(x / left)) < space and abs(y - low) < _NEAR[1] * height:
                groups[index] = ([*numbers, str(number)], (x, y))
                break
        else:
            groups.append(([str(number)], (x, y)))
    yield from ((", ".join(numbers), place) for numbers, place in groups)
