"""A run's metric over two axes: a table of cells, and where it crosses lines of equal metric."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from cimsim.analysis.grid import at, grid
from cimsim.analysis.levels import Axis, Level
from cimsim.analysis.scale import scale_of
from cimsim.analysis.stats import Summary, summary
from cimsim.analysis.store import MAPS, Sweep
from cimsim.analysis.study import (
    Evaluation,
    Facts,
    Result,
    Sheet,
    facts_of,
    read_result,
    scores,
)
from cimsim.errors import CimsimError
from cimsim.training.run import Run

NAME = "map"
_POINTS_BELOW = (0.01, 0.05)
_TIMES_ABOVE = (1.1, 2.0)


@dataclass(frozen=True)
class Line:
    """Where the mean metric is ``value``: for each level of y the levels of x, in the units of x
    (seconds on the time axis), found between neighboring levels by linear interpolation (in the
    logarithm of time). Crossings next to a level without a number (a word, ``ideal``) are left
    out."""

    value: float
    crossings: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Map(Result):
    """The metric of one run at every level of ``x`` and ``y``, over the same chips.

    Attributes:
        x, y: keys of the axes.
        x_levels, y_levels: levels as they are drawn, from left to right and from bottom to top.
        cells: a row for each level of y, in it a summary for each level of x.
        lines: lines of equal metric.
    """

    facts: Facts
    x: str
    y: str
    x_levels: tuple[Level, ...]
    y_levels: tuple[Level, ...]
    cells: tuple[tuple[Summary, ...], ...]
    lines: tuple[Line, ...]

    @property
    def means(self) -> list[list[float]]:
        """The mean of each cell."""
        return [[cell.mean for cell in row] for row in self.cells]

    def crosses(self, value: float) -> bool:
        """Whether some cells do better and some worse."""
        means = [mean for row in self.means for mean in row if not math.isnan(mean)]
        return bool(means) and min(means) < value < max(means)

    def table(self) -> Iterator[Sequence[object]]:
        """One row for each cell, the heading first; times in seconds."""
        yield [self.x, self.y, "chips", "mean", "std", "half_width", "worst"]
        for y, row in zip(self.y_levels, self.cells, strict=True):
            for x, cell in zip(self.x_levels, row, strict=True):
                names = [Axis(self.x, ()).format(None) if v is None else v for v in (x, y)]
                yield [*names, cell.chips, cell.mean, cell.std, cell.half_width, cell.worst]

    def sheet(self) -> Sheet:
        """As the picture: y upwards, x to the right."""
        metric, x, y = self.facts.measured, Axis(self.x, ()), Axis(self.y, ())
        rows = tuple(
            (y.format(level), *(metric.shown(cell.mean) for cell in row))
            for level, row in zip(self.y_levels[::-1], self.cells[::-1], strict=True)
        )
        headings = (f"{y.key} \\ {x.key}", *map(x.format, self.x_levels))
        return Sheet(self.facts.caption, headings, rows, range(len(headings)))


def metric_map(
    run: Run,
    x: Axis,
    y: Axis,
    evaluation: Evaluation = Evaluation(),  # noqa: B008
    lines: Sequence[float] | None = None,
) -> Map:
    """Evaluate ``run`` at every level of ``x`` and ``y``.

    Args:
        lines: metrics whose lines are wanted, as they are shown (percent of accuracy); by default
            1 and 5 points of accuracy below the digital model, or 1.1 and 2 times a metric that
            falls.

    Raises:
        CimsimError: as :func:`cimsim.analysis.sweep.sweep`, if both axes are the same, or a line is
            no number.
    """
    if lines is not None and not all(map(math.isfinite, lines)):
        raise CimsimError("a line of a map needs a number")
    return map_of(evaluation.sweep(run, grid(x, y)), x, y, evaluation, lines)


def map_of(
    sweep: Sweep, x: Axis, y: Axis, evaluation: Evaluation, lines: Sequence[float] | None = None
) -> Map:
    """What a finished sweep over the grid of ``x`` and ``y`` says; ``lines`` as in
    :func:`metric_map`."""
    facts, found = facts_of(sweep.plan, evaluation), scores(sweep)
    x_levels, y_levels = _ordered(x), _ordered(y)
    falls = facts.measured.falls
    cells = tuple(
        tuple(summary(left, found[at(left, right)], falls) for left in x_levels)
        for right in y_levels
    )
    factor = facts.measured.factor
    values = _usual_lines(facts) if lines is None else [line / factor for line in lines]
    means = [[cell.mean for cell in row] for row in cells]
    wanted = tuple(Line(value, _crossings(x, x_levels, means, value)) for value in values)
    return Map(facts, x.key, y.key, x_levels, y_levels, cells, wanted)


def map_folder(run: Path, x: str, y: str) -> Path:
    """Where the map of the run in the folder ``run`` over the axes ``x`` and ``y`` lies."""
    return run / MAPS / f"{x}-by-{y}"


def read_map(folder: Path) -> Map:
    """The map in ``folder``, see :func:`map_folder`.

    Raises:
        CimsimError: if there is none, or it is damaged.
    """
    return read_result(folder / f"{NAME}.json", Map, "cimsim map")


def map_folders(run: Path) -> list[Path]:
    """Where the maps of the run in the folder ``run`` lie, sorted by name."""
    return sorted(path.parent for path in (run / MAPS).glob(f"*/{NAME}.json"))


def positions_of_crossings(values: Sequence[float], line: float) -> list[float]:
    """Where the straight lines between neighboring ``values``, which stand at 0, 1, 2, …, are
    ``line``; a value that is ``line`` itself counts once, of several in a row both ends.

    >>> positions_of_crossings([3.0, 3.0, 1.0], 1.5)
    [1.75]
    >>> positions_of_crossings([3.0, 2.0, 1.0, 2.0, 2.0], 2.0)
    [1.0, 3.0]
    """
    found: list[float] = []
    for place, (left, right) in enumerate(pairwise(values)):
        if left == right:
            continue
        if line in (left, right):
            found.append(float(place + (right == line)))
        elif min(left, right) < line < max(left, right) and math.isfinite(right - left):
            found.append(place + (line - left) / (right - left))
    return list(dict.fromkeys(found))


def _ordered(axis: Axis) -> tuple[Level, ...]:
    """From left to right as in any plot: numbers grow, ``ideal`` is last, words stay."""
    places = scale_of(axis, axis.values).positions
    return tuple(sorted(axis.values, key=lambda level: places[level]))


def _usual_lines(facts: Facts) -> list[float]:
    if facts.measured.falls:
        return [factor * facts.digital for factor in _TIMES_ABOVE]
    return [facts.digital - points for points in _POINTS_BELOW]


def _crossings(
    axis: Axis, levels: Sequence[Level], means: Sequence[Sequence[float]], value: float
) -> tuple[tuple[float, ...], ...]:
    def units(row: Sequence[float]) -> Iterator[float]:
        for place in positions_of_crossings(row, value):
            first = math.floor(place)
            found = _between(axis, levels[first], levels[math.ceil(place)], place - first)
            if found is not None:
                yield found

    return tuple(tuple(units(row)) for row in means)


def _between(axis: Axis, left: Level, right: Level, share: float) -> float | None:
    """The level at ``share`` of the way from one to the next; None where there is no number."""
    if not isinstance(left, int | float) or not isinstance(right, int | float):
        return None
    if axis.key == "time" and left > 0 and right > 0:
        return float(left * (right / left) ** share)
    return left + share * (right - left)
