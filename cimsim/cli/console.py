"""Output of the command line: results on stdout, progress and notes on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import (
    BarColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.segment import Segment
from rich.table import Table

from cimsim.analysis.sheet import Sheet
from cimsim.cli.tables import FRAMED, Look, fitted_to, wrapped
from cimsim.interrupts import interruptible
from cimsim.terminal import printable

_PAGE = 100
_MOST_TRIALS_PER_LINE = 10
_UNLIMITED = 10_000


class Screen(Console):
    """A terminal that shows every text literally.

    Names and texts come from files that may be from someone else: square brackets are not
    styles, and control characters are escaped.
    """

    def __init__(self, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        """Yield the pieces of ``renderable``; only control codes of rich itself are kept."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))


def show(table: Table) -> None:
    """Print a table on stdout; at its full width if stdout is no terminal."""
    console = Screen()
    if not console.is_terminal:
        unlimited = console.options.update(width=_UNLIMITED)
        console.width = max(console.width, console.measure(table, options=unlimited).maximum)
    console.print(table)


def show_sheet(sheet: Sheet, wide: bool = False, look: Look = FRAMED) -> None:
    """Print a table on stdout.

    In a terminal it has the terminal's width: columns that are not essential may be left out, with
    a line that names them; with ``wide`` they continue below. Elsewhere the width is not limited.
    """
    console = Screen()
    width = console.width if console.is_terminal else _UNLIMITED
    fitted = fitted_to(sheet, width, wide or not console.is_terminal, look)
    if sheet.caption:
        say("\n".join(wrapped(sheet.caption, width)))
    for table in fitted.tables:
        show(table)
    if fitted.left_out:
        say("\n".join(wrapped(f"--wide also shows: {', '.join(fitted.left_out)}", width)))


def page(content: RenderableType) -> None:
    """Print text on stdout in lines of readable length."""
    console = Screen()
    console.width = min(console.width, _PAGE) if console.is_terminal else _PAGE
    console.print(content)


def say(text: str) -> None:
    """Print one line of a result on stdout, with control characters escaped."""
    typer.echo(printable(text))


def write(text: str) -> None:
    """Print a piece of text on stdout at once, without ending the line."""
    typer.echo(printable(text), nl=False)
    sys.stdout.flush()


def remark(text: str) -> None:
    """Print a note on stderr."""
    log(f"cimsim: note: {text}")


def log(text: str) -> None:
    """Write one line of progress on stderr, for a log file."""
    typer.echo(printable(text), err=True)


def fail(text: str) -> None:
    """Print an error on stderr."""
    log(f"cimsim: error: {text}")


def is_watched() -> bool:
    """Whether stderr is a terminal."""
    return Screen(stderr=True).is_terminal


def progress_bar(*columns: str) -> Progress:
    """Make a progress bar on stderr with the given texts, each a format of the task's fields.

    It is disabled if stderr is no terminal; a command then writes lines with :func:`log`.
    """
    screen = Screen(stderr=True)
    return Progress(
        _text("{task.description}"),
        BarColumn(bar_width=14),
        *map(_text, columns),
        _text("left"),
        TimeRemainingColumn(),
        console=screen,
        speed_estimate_period=3600.0,  # a step may take minutes
        disable=not screen.is_terminal,
    )


@contextmanager
def counted(what: str, every: int, part: str = "") -> Iterator[Callable[[int, int, str], None]]:
    """Within the block, the function given shows the number of finished trials: as a bar, or as a
    line after ``every`` trials (at most ten) if stderr is no terminal; ``part`` names the part of
    the trials that this command evaluates."""
    with progress_bar("{task.completed}/{task.total}", "{task.fields[rate]}") as bar:
        yield _Trials(what, bar, every, part)


class _Trials:
    """Shows the trials of an evaluation: a bar in a terminal, else lines, with the speed."""

    def __init__(self, what: str, bar: Progress, trials_per_line: int, part: str) -> None:
        self._bar, self._part = bar, part
        self._trials_per_line = min(trials_per_line, _MOST_TRIALS_PER_LINE)
        self._task = bar.add_task(what, total=0, rate="")
        self._before, self._began = 0, time.monotonic()

    def __call__(self, done: int, total: int, doing: str) -> None:
        """``done`` of ``total`` trials are finished; ``doing`` names the last of them."""
        if doing == "finished before":
            self._before, self._began = done, time.monotonic()
        seconds = time.monotonic() - self._began
        rate = (done - self._before) / seconds if seconds > 0 else 0.0
        speed = f"{rate:.2g} trials/s" if done > self._before else ""
        text = f"{self._part}{doing}"
        self._bar.update(self._task, completed=done, total=total, description=text, rate=speed)
        if self._bar.disable and (done % self._trials_per_line == 0 or done == total):
            left = f", {speed}, {_clock((total - done) / rate)} left" if speed else ""
            log(f"{text}: {done} of {total} trials{left}")


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


@contextmanager
def resumable(how: str) -> Iterator[None]:
    """Within the block, Ctrl-C ends the command with code 130 and prints ``how`` to resume."""
    try:
        with interruptible():
            yield
    except KeyboardInterrupt:
        log(f"\ncimsim: interrupted; {how}")
        raise typer.Exit(130) from None
