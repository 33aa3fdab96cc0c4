"""How the command line speaks: results on stdout, progress and remarks on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer
from rich.console import Console, ConsoleOptions, JustifyMethod, RenderableType
from rich.progress import (
    BarColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from cimsim.terminal import printable

if TYPE_CHECKING:
    from cimsim.analysis.study import Sheet

_PAGE = 100
_MOST_CELLS_PER_LINE = 10
_UNLIMITED = 10_000


class Screen(Console):
    """A terminal on which every text is shown as it is.

    Names and texts come from files that somebody else may have made: square brackets are no
    styles, and characters that a terminal would obey are written out.
    """

    def __init__(self, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        """The pieces of text of ``renderable``; only what rich itself sends may move the cursor."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))


def show(table: Table) -> None:
    """Print a table on stdout; where nobody watches, as wide as it likes to be."""
    console = Screen()
    if not console.is_terminal:
        unlimited = console.options.update(width=_UNLIMITED)
        console.width = max(console.width, console.measure(table, options=unlimited).maximum)
    console.print(table)


def lined_up(sheet: Sheet) -> Table:
    """A table for the terminal."""
    table = Table(title=sheet.caption, title_justify="left")
    for column, heading in enumerate(sheet.headings):
        justify: JustifyMethod = "right" if column in sheet.right else "left"
        table.add_column(Text(heading), justify=justify, overflow="fold")
    for row in sheet.rows:
        table.add_row(*map(Text, row))
    return table


def page(content: RenderableType) -> None:
    """Print something to read on stdout, in lines that are easily read."""
    console = Screen()
    console.width = min(console.width, _PAGE) if console.is_terminal else _PAGE
    console.print(content)


def say(text: str) -> None:
    """Print one line of a result on stdout, with what a terminal would obey written out."""
    typer.echo(printable(text))


def write(text: str) -> None:
    """Print a piece of text on stdout at once, without ending the line."""
    typer.echo(printable(text), nl=False)
    sys.stdout.flush()


def remark(text: str) -> None:
    """Tell the user something on stderr that is no result."""
    log(f"cimsim: note: {text}")


def log(text: str) -> None:
    """Write one line of progress on stderr, for a log file."""
    typer.echo(printable(text), err=True)


def fail(text: str) -> None:
    """Tell the user on stderr what went wrong."""
    log(f"cimsim: error: {text}")


def is_watched() -> bool:
    """Whether stderr is a terminal."""
    return Screen(stderr=True).is_terminal


def progress_bar(*columns: str) -> Progress:
    """A progress bar on stderr with the given texts, each a format of the task's fields.

    It is disabled where nobody watches; a command then writes lines with :func:`log`.
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
    """Within the block, the function given shows how many of many cells are done: a bar, or a line
    after ``every`` so many, at least each tenth, where nobody watches; ``part`` says which of them
    are this command's."""
    with progress_bar("{task.completed}/{task.total}", "{task.fields[rate]}") as bar:
        yield _Cells(what, bar, every, part)


class _Cells:
    """Shows all cells of an evaluation, whoever evaluates them: a bar where somebody watches, else
    a line for every so many, and how fast it goes."""

    def __init__(self, what: str, bar: Progress, cells_per_line: int, part: str) -> None:
        self._bar, self._part = bar, part
        self._cells_per_line = min(cells_per_line, _MOST_CELLS_PER_LINE)
        self._task = bar.add_task(what, total=0, rate="")
        self._found, self._began = 0, time.monotonic()

    def __call__(self, done: int, total: int, doing: str) -> None:
        """``done`` of ``total`` cells are there; the first time, those that were found."""
        if doing == "found":
            self._found, self._began = done, time.monotonic()
        seconds = time.monotonic() - self._began
        rate = (done - self._found) / seconds if seconds > 0 else 0.0
        speed = f"{rate:.2g} cells/s" if done > self._found else ""
        text = f"{self._part}{doing}"
        self._bar.update(self._task, completed=done, total=total, description=text, rate=speed)
        if self._bar.disable and (done % self._cells_per_line == 0 or done == total):
            left = f", {speed}, {_clock((total - done) / rate)} left" if speed else ""
            log(f"{text}: {done} of {total} cells{left}")


def _clock(seconds: float) -> str:
    """
    >>> _clock(3725.4)
    '1:02:05'
    """
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def _text(template: str) -> TextColumn:
    """A column of plain text: a run may be called ``[red]``."""
    return TextColumn(template, markup=False)


@contextmanager
def resumable(how: str) -> Iterator[None]:
    """Within the block, Ctrl-C ends the command with code 130 and says ``how`` to go on."""
    try:
        yield
    except KeyboardInterrupt:
        log(f"\ncimsim: interrupted; {how}")
        raise typer.Exit(130) from None
