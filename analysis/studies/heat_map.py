"""A model's metric over two axes: a heat map, and contours of equal metric."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cimsim.analysis import figures
from cimsim.analysis.evaluation import Evaluation
from cimsim.analysis.sheet import Column, Sheet
from cimsim.analysis.study import (
    Facts,
    Options,
    Study,
    StudyResult,
    facts_of,
    number_text,
    option,
    short_number,
)
from cimsim.analysis.sweeps.axis import Axis, Level, format_axis, parse_axis
from cimsim.analysis.sweeps.axis_scale import scale_of
from cimsim.analysis.sweeps.grid_axis import at, grid
from cimsim.analysis.sweeps.metric import rounding
from cimsim.analysis.sweeps.stats import Summary, summary
from cimsim.analysis.sweeps.store import Sweep
from cimsim.errors import CimsimError

if TYPE_CHECKING:
    from cimsim.analysis.figures.canvas import Layout, Panels
    from cimsim.analysis.subjects import Subject

NAME = "map"
FOLDER = "maps"
SQUARES = "cells"
"""The name (``gid``) of the centers of the figure's squares, row by row from below."""
_WORSE_BY = (1.0, 5.0)
_WORSE_BY_IF_LOW = (10.0, 100.0)


class MapOptions(Options):
    """Evaluate a run at every pair of levels of two axes and draw a heat map with contours.

    The axes are the same as in `cimsim sweep`. Results are written to RUN/maps/X-by-Y/. Finished
    trials are kept: run the same command again to resume.
    """

    x: str = option(
        ...,
        "Axis from left to right, such as noise=0:3:0.5.",
        metavar="AXIS=LEVELS",
        axis=True,
        in_name=False,
    )
    y: str = option(
        ...,
        "Axis from bottom to top, such as adc.bits=ideal,8,6,5,4.",
        metavar="AXIS=LEVELS",
        axis=True,
        in_name=False,
    )
    lines: str | None = option(
        None,
        "Contour levels, such as 90,92.",
        metavar="M,M,…",
        default_text="1 and 5 points or percent below digital, or 1.1 and 2 times it",
        in_name=False,
    )


@dataclass(frozen=True)
class Line:
    """A contour, where the mean metric is ``value``: for each level of y the levels of x, in the
    units of x (seconds on the time axis), interpolated linearly between neighboring levels (in the
    logarithm of time). Crossings next to a level without a number (a word, ``ideal``) are left
    out."""

    value: float
    crossings: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Map(StudyResult):
    """The metric of one subject at every level of ``x`` and ``y``, over the same chips.

    Attributes:
        x, y: keys of the axes.
        x_levels, y_levels: levels from left to right and from bottom to top.
        summaries: a row for each level of y, in it a summary for each level of x.
        lines: contours.
    """

    facts: Facts
    x: str
    y: str
    x_levels: tuple[Level, ...]
    y_levels: tuple[Level, ...]
    summaries: tuple[tuple[Summary, ...], ...]
    lines: tuple[Line, ...]

    stem = "maps/map"

    @property
    def place(self) -> str:
        """See :class:`Result`."""
        return f"{FOLDER}/{self.x}-by-{self.y}/{NAME}"

    @property
    def means(self) -> list[list[float]]:
        """The mean at each pair of levels."""
        return [[level.mean for level in row] for row in self.summaries]

    def crosses(self, value: float) -> bool:
        """Whether the metric is better than ``value`` in some places and worse in others, by more
        than rounding."""
        means = [mean for row in self.means for mean in row if not math.isnan(mean)]
        return bool(means) and min(value - min(means), max(means) - value) > rounding(value)

    def rows(self) -> Iterator[Sequence[object]]:
        """Yield one row for each pair of levels, the heading first; times in seconds."""
        yield [self.x, self.y, "chips", "mean", "std", "half_width", "worst"]
        for y, row in zip(self.y_levels, self.summaries, strict=True):
            for x, s in zip(self.x_levels, row, strict=True):
                names = [Axis(self.x, ()).format(None) if v is None else v for v in (x, y)]
                yield [*names, s.chips, s.mean, s.std, s.half_width, s.worst]

    def sheet(self) -> Sheet:
        """Arranged as in the figure: y upwards, x to the right."""
        metric, x, y = self.facts.measured, Axis(self.x, ()), Axis(self.y, ())
        upwards = zip(*self.summaries[::-1], strict=True)
        columns = (
            Column(f"{y.key} \\ {x.key}", tuple(map(y.format, self.y_levels[::-1]))),
            *(
                Column(x.format(level), tuple(metric.format(each.mean) for each in column))
                for level, column in zip(self.x_levels, upwards, strict=True)
            ),
        )
        return Sheet(self.facts.caption, columns)

    def options(self) -> MapOptions:
        """See :class:`Result`."""
        x, y = Axis(self.x, self.x_levels), Axis(self.y, self.y_levels)
        factor = self.facts.measured.factor
        lines = ",".join(number_text(short_number(line.value, factor)) for line in self.lines)
        return MapOptions(x=format_axis(x), y=format_axis(y), lines=lines)

    def hover(self) -> dict[str, list[str]]:
        """See :class:`Result`."""
        x, y, metric = Axis(self.x, ()), Axis(self.y, ()), self.facts.measured
        return {
            SQUARES: [
                f"{x.title}: {x.format(left)}\n{y.title}: {y.format(up)}\n"
                f"{metric.title}: {level.with_unit(metric)}"
                for up, row in zip(self.y_levels, self.summaries, strict=True)
                for left, level in zip(self.x_levels, row, strict=True)
            ]
        }

    @property
    def layout(self) -> Layout:
        """See :class:`Shown`."""
        return figures.heat_map.layout_of(self)

    def draw(self, panels: Panels) -> None:
        """See :func:`cimsim.analysis.figures.heat_map.draw_map`."""
        figures.heat_map.draw_map(panels, self)

    @property
    def warnings(self) -> tuple[str, ...]:
        """See :class:`Result`."""
        metric = self.facts.measured
        return tuple(
            f"the whole map is on one side of {metric.format(line.value)}; that contour is not "
            "drawn"
            for line in self.lines
            if not self.crosses(line.value)
        )

    @classmethod
    def upgrade(cls, fields: dict[str, Any], path: Path) -> dict[str, Any]:
        """See :class:`Result`."""
        return {"summaries" if key == "cells" else key: value for key, value in fields.items()}


def metric_map(
    subject: Subject,
    x: Axis,
    y: Axis,
    evaluation: Evaluation = Evaluation(),  # noqa: B008
    lines: Sequence[float] | None = None,
) -> Map:
    """Evaluate ``subject`` at every level of ``x`` and ``y``.

    Args:
        subject: what to evaluate.
        x, y: the axes.
        evaluation: on which chips.
        lines: metrics of the contours, as they are printed (percent of accuracy); by default 1 and
            5 points of accuracy (or percent of another metric) below digital, or 1.1 and 2 times a
            metric that should be low.

    Raises:
        CimsimError: if both axes are the same, or as
            :meth:`cimsim.analysis.sweeps.metric.Metric.from_printed` and
            :func:`cimsim.analysis.sweeps.sweep.sweep`.
    """
    metric = evaluation.metric_of(subject)
    for line in lines or ():
        metric.from_printed(line, "the contour")  # before anything is evaluated
    key = f"{FOLDER}/{x.key}-by-{y.key}"
    return map_of(evaluation.sweep(subject, grid(x, y, key)), x, y, lines)


def map_of(sweep: Sweep, x: Axis, y: Axis, lines: Sequence[float] | None = None) -> Map:
    """Compute the map from a finished sweep over the grid of ``x`` and ``y``; ``lines`` as in
    :func:`metric_map`."""
    facts, numbers = facts_of(sweep.plan), sweep.values()
    x_levels, y_levels = _ordered(x), _ordered(y)
    falls = facts.measured.falls
    summaries = tuple(
        tuple(summary(left, numbers[at(left, right)], falls) for left in x_levels)
        for right in y_levels
    )
    if lines is None:
        values = _usual_lines(facts)
    else:
        values = [facts.measured.from_printed(line, "the contour") for line in lines]
    means = [[level.mean for level in row] for row in summaries]
    contours = tuple(Line(value, _crossings(x, x_levels, means, value)) for value in values)
    return Map(facts, x.key, y.key, x_levels, y_levels, summaries, contours)


def positions_of_crossings(values: Sequence[float], line: float) -> list[float]:
    """The places where the straight lines between neighboring ``values`` at 0, 1, 2, … are
    ``line``; a value equal to ``line`` up to rounding counts once, several in a row at both ends.

    >>> positions_of_crossings([3.0, 3.0, 1.0], 1.5)
    [1.75]
    >>> positions_of_crossings([3.0, 2.0, 1.0, 2.0, 2.0], 2.0)
    [1.0, 3.0]
    """
    places: list[float] = []
    near = rounding(line)
    exact = (line if abs(value - line) <= near else value for value in values)
    for place, (left, right) in enumerate(pairwise(exact)):
        if left == right:
            continue
        if line in (left, right):
            places.append(float(place + (right == line)))
        elif min(left, right) < line < max(left, right) and math.isfinite(right - left):
            places.append(place + (line - left) / (right - left))
    return list(dict.fromkeys(places))


def _ordered(axis: Axis) -> tuple[Level, ...]:
    """Levels in the order of a plot: numbers grow, ``ideal`` is last, words stay."""
    places = scale_of(axis, axis.values).positions
    return tuple(sorted(axis.values, key=lambda level: places[level]))


def _usual_lines(facts: Facts) -> list[float]:
    metric = facts.measured
    amounts = _WORSE_BY_IF_LOW if metric.falls else _WORSE_BY
    return [metric.worse_by(facts.digital, amount) for amount in amounts]


def _crossings(
    axis: Axis, levels: Sequence[Level], means: Sequence[Sequence[float]], value: float
) -> tuple[tuple[float, ...], ...]:
    def units(row: Sequence[float]) -> Iterator[float]:
        for place in positions_of_crossings(row, value):
            first = math.floor(place)
            level = _between(axis, levels[first], levels[math.ceil(place)], place - first)
            if level is not None:
                yield level

    return tuple(tuple(units(row)) for row in means)


def _between(axis: Axis, left: Level, right: Level, share: float) -> float | None:
    """The level at ``share`` of the way from ``left`` to ``right``; None if one is NaN."""
    if not isinstance(left, int | float) or not isinstance(right, int | float):
        return None
    if axis.key == "time" and left > 0 and right > 0:
        return float(left * (right / left) ** share)
    return left + share * (right - left)


def _run(subjects: Sequence[Subject], evaluation: Evaluation, options: MapOptions) -> Map:
    lines = None
    if options.lines is not None:
        try:
            lines = [float(word) for word in options.lines.split(",")]
        except ValueError:
            raise CimsimError(
                f"--lines must be numbers, such as 90,92, not '{options.lines}'"
            ) from None
    return metric_map(subjects[0], parse_axis(options.x), parse_axis(options.y), evaluation, lines)


STUDY = Study(
    NAME,
    Map,
    "Two axes at once",
    "Metric over two axes",
    "--x noise=0:4:1 --y adc.bits=8,6,5,4",
    options=MapOptions,
    run=_run,
    function="heat_map",  # map is a function of Python
    files=f"{FOLDER}/*/{NAME}.json",
)
