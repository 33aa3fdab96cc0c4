"""Progress of evaluations and trainings: bars that fit the terminal, or lines for a log file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from cimsim.analysis.evaluation import FINISHED_BEFORE
from cimsim.cli import console
from cimsim.cli.tables import shortened_names
from cimsim.quantities import plain_number

_MOST_TRIALS_PER_LINE = 10
_BAR, _TIME = 14, 13  # widths of the bar and of the remaining time
_WITH_BAR, _WITH_SPEED = 74, 100  # widths of terminals that have room for them


def progress_bar(*columns: str) -> Progress:
    """Make a progress bar on stderr with the given texts, each a format of the task's fields.

    It is disabled if stderr is not a terminal; commands then write lines with :func:`console.log`.
    A narrow terminal shows the texts and the remaining time only.
    """
    screen = console.Screen(stderr=True)
    bar = [BarColumn(bar_width=_BAR)] if screen.width >= _WITH_BAR else []
    return Progress(
        _text("{task.description}"),
        *bar,
        *map(_text, columns),
        _TimeLeft(),
        console=screen,
        speed_estimate_period=3600.0,  # a step may take minutes
        disable=not screen.is_terminal,
    )


@contextmanager
def counted(what: str, every: int, part: str = "") -> Iterator[Callable[[int, int, str], None]]:
    """Within the block, the function given shows the number of finished trials.

    Args:
        what: name of the evaluation, shown until the first trial is finished.
        every: number of trials, at most ten, between two lines of progress if stderr is not a
            terminal.
        part: names the part of the trials that this command evaluates.
    """
    bar = progress_bar("{task.fields[count]}", "{task.fields[rate]}")
    with console.drawn(bar):
        yield Trials(what, bar, every, part)


class Trials:
    """Shows the trials of an evaluation: a bar in a terminal, else lines, with the speed."""

    def __init__(self, what: str, bar: Progress, trials_per_line: int, part: str) -> None:
        self._bar, self._part = bar, part
        self._trials_per_line = min(trials_per_line, _MOST_TRIALS_PER_LINE)
        self._task = bar.add_task(f"preparing {what}", total=None, count="", rate="")
        self._before, self._began = 0, time.monotonic()

    def __call__(self, done: int, total: int, doing: str) -> None:
        """``done`` of ``total`` trials are finished; ``doing`` names the last of them."""
        first = doing.endswith(FINISHED_BEFORE)
        if first:
            self._before, self._began = done, time.monotonic()
        seconds = time.monotonic() - self._began
        rate = (done - self._before) / seconds if seconds > 0 else 0.0
        speed = f"{plain_number(rate)} trials/s" if done > self._before else ""
        text, count = f"{self._part}{doing}", f"{done}/{total}"
        if not self._bar.disable:
            width = self._bar.console.width
            speed = speed if width >= _WITH_SPEED else ""
            others = (count, speed, " " * _TIME, " " * _BAR if width >= _WITH_BAR else "")
            (name,) = shortened_names([text], max(1, width - sum(len(x) + 1 for x in others)))
            self._bar.update(
                self._task, completed=done, total=total, description=name, count=count, rate=speed
            )
        elif done % self._trials_per_line == 0 or done == total:
            left = f", {speed}, {_clock((total - done) / rate)} left" if speed else ""
            what = " (a trial is one chip at one level)" if first else ""
            console.log(f"{text}: {done} of {total} trials{what}{left}")


class _TimeLeft(ProgressColumn):
    """The remaining time, once it can be estimated."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        """Render the time."""
        seconds = None if task.total is None else task.time_remaining
        return Text("" if seconds is None else f"{_clock(seconds)} left", "progress.remaining")


def _clock(seconds: float) -> str:
    """
    >>> _clock(3725.4)
    '1:02:05'
    """
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def _text(template: str) -> TextColumn:
    """Make a column of plain text: a run may be called ``[red]``."""
    return TextColumn(template, markup=False)
