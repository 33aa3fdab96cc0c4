"""Curves of a training in the terminal, updated while it runs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cimsim.cli import console
from cimsim.cli.watcher import Watcher
from cimsim.files import read_file
from cimsim.training.progress import ACCURACY, Measure
from cimsim.training.records import METRICS, parse_metrics

_HEIGHT, _NARROWEST, _WIDEST = 8, 10, 40  # of a curve, in characters
_BESIDE = 23  # columns around two curves
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # of a braille character
_BLANK = 0x2800
_INTERVAL_S = 0.1  # between two updates


def plotted(
    points: Sequence[tuple[float, float]], right: float, width: int, height: int
) -> list[str]:
    """Draw a curve of braille dots, 2 by 4 in each character, in ``height`` lines of ``width``.

    ``points`` are x from 0 to ``right`` in rising order, and y; they are joined. The largest y is
    in the first line, the smallest in the last one.

    >>> plotted([(0, 1.0), (1, 0.0)], 1, width=2, height=1)
    ['⠑⢄']
    """
    cells = [[0] * width for _ in range(height)]
    values = [y for _, y in points]
    low, high = min(values), max(values)
    places = [
        (_column(x, right, width), round((4 * height - 1) * (high - y) / ((high - low) or 1)))
        for x, y in points
    ]
    for (column, row), (next_column, next_row) in pairwise([places[0], *places]):
        across, down = next_column - column, next_row - row
        steps = max(abs(across), abs(down), 1)
        for step in range(steps + 1):
            x, y = column + round(step * across / steps), row + round(step * down / steps)
            cells[y // 4][x // 2] |= _DOTS[y % 4][x % 2]
    return ["".join(chr(_BLANK + dots) for dots in line) for line in cells]


def _column(x: float, right: float, width: int) -> int:
    return min(int(2 * width * x / right), 2 * width - 1)


class LiveWatcher(Watcher):
    """Shows loss and accuracy (or RMSE) of a training as curves over its epochs, and its bar below.

    A resumed run continues the curves of the epochs in its folder ``run``.
    """

    def __init__(self, epochs: int, run: Path) -> None:
        super().__init__(epochs)
        self._run = run
        self._losses: list[tuple[float, float]] = []
        self._measures: list[tuple[float, float]] = []
        self._done, self._total, self._shown_s = 0, 1, 0.0
        room = (self._bar.console.width - _BESIDE) // 2
        self._width = max(_NARROWEST, min(room, _WIDEST))
        self._live = Live(console=self._bar.console, auto_refresh=False, transient=False)

    def __enter__(self) -> LiveWatcher:
        self._drawing.enter_context(console.drawn(self._live))
        return self

    def __exit__(self, *error: object) -> None:
        self._show(at_once=True)
        self._drawing.close()

    def start(self, total: int, done: int, measure: Measure = ACCURACY) -> None:
        """Read the epochs before from the run's folder."""
        super().start(total, done, measure)
        self._total, self._done = total, done
        path = self._run / METRICS  # checked by the training
        for row in parse_metrics(path, read_file(path)) if path.is_file() else []:
            self._add(row["epoch"], row["train_loss"], row[measure.key])

    def step(self, epoch: int, loss: float, measured: float, count: int) -> None:
        """Add a point to each curve: the epoch's means so far."""
        super().step(epoch, loss, measured, count)
        self._done += count
        self._add(self._epochs * self._done / self._total, loss, measured)
        self._show()

    def epoch(self, metrics: dict[str, Any]) -> None:
        """Nothing, since the curves have it."""

    def _add(self, epoch: float, loss: float, measured: float) -> None:
        column = _column(epoch, self._epochs, self._width)
        shown = self._measure.factor * measured
        for points, value in ((self._losses, loss), (self._measures, shown)):
            if points and _column(points[-1][0], self._epochs, self._width) == column:
                points.pop()  # one dot for each column, the latest
            points.append((epoch, value))

    def _show(self, at_once: bool = False) -> None:
        now = time.monotonic()
        if self._losses and (at_once or now > self._shown_s + _INTERVAL_S):
            self._shown_s = now
            curves = Table.grid(padding=(0, 3))
            curves.add_row(
                self._curve("loss", self._losses, ".4f"),
                self._curve(
                    self._measure.heading, self._measures, ".1f" if self._measure.percent else ".4g"
                ),
            )
            self._live.update(Group(curves, self._bar.get_renderable()), refresh=True)

    def _curve(self, name: str, points: Sequence[tuple[float, float]], form: str) -> Text:
        values = [y for _, y in points]
        ends = [format(max(values), form), *[""] * (_HEIGHT - 2), format(min(values), form)]
        margin = max(map(len, ends))
        lines = plotted(points, self._epochs, self._width, _HEIGHT)
        rows = [f"{end:>{margin}} ┤{line}" for end, line in zip(ends, lines, strict=True)]
        below = f"{'':>{margin}}  0{f'{self._epochs} epochs':>{self._width - 1}}"
        return Text("\n".join((f"{'':>{margin}}  {name}", *rows, below)), no_wrap=True)


def watcher(epochs: int, run: Path, live: bool) -> Watcher:
    """Return what shows a training: curves if requested and possible, else a bar or lines."""
    return LiveWatcher(epochs, run) if live and console.is_watched() else Watcher(epochs)
