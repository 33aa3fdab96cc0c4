"""Output of the command line: results on stdout, progress and notes on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from cimsim.analysis.sheet import Sheet
from cimsim.cli.tables import FRAMED, Look, fitted_to, wrapped
from cimsim.interrupts import interruptible
from cimsim.terminal import printable

if TYPE_CHECKING:
    from rich.live import Live
    from rich.progress import Progress

_PAGE = 100
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


_DRAWN: list[Console] = []
"""Screens at the bottom of which a progress bar or curves are drawn now."""


def show(table: Table) -> None:
    """Print a table on stdout; at its full width if stdout is not a terminal."""
    console = Screen()
    if not console.is_terminal:
        unlimited = console.options.update(width=_UNLIMITED)
        console.width = max(console.width, console.measure(table, options=unlimited).maximum)
    _put(console, table)


def show_sheet(sheet: Sheet, wide: bool = False, look: Look = FRAMED) -> None:
    """Print a table on stdout.

    In a terminal it has the terminal's width: columns that are not essential may be left out, with
    a line that names them; with ``wide`` they continue below. Elsewhere the width is not limited.
    """
    console = Screen()
    width = console.width if console.is_terminal else _UNLIMITED
    fitted = fitted_to(sheet, width, wide or not console.is_terminal, look)
    if sheet.caption:
        state(sheet.caption)
    for table in fitted.tables:
        show(table)
    if fitted.left_out:
        state(f"--wide also shows: {', '.join(fitted.left_out)}")


def page(content: RenderableType) -> None:
    """Print on stdout in lines of readable length; each line of a text is a paragraph."""
    console = Screen()
    console.width = min(console.width, _PAGE) if console.is_terminal else _PAGE
    if isinstance(content, str):
        say("\n".join(wrapped(content, console.width, split=False)))
    else:
        _put(console, content)


def _put(console: Screen, content: RenderableType) -> None:
    """Print on ``console``; lines end without spaces if it is not a terminal."""
    if console.is_terminal:
        console.print(content)
        return
    with console.capture() as captured:
        console.print(content)
    say("\n".join(line.rstrip() for line in captured.get().splitlines()))


def say(text: str) -> None:
    """Print one line of a result on stdout, with control characters escaped."""
    typer.echo(printable(text))


def state(text: str) -> None:
    """Print sentences of a result on stdout, in lines of the terminal's width."""
    say(_in_lines(text, Screen()))


def write(text: str) -> None:
    """Print a piece of text on stdout at once, without ending the line."""
    typer.echo(printable(text), nl=False)
    sys.stdout.flush()


def remark(text: str) -> None:
    """Print a note on stderr."""
    log(_in_lines(f"cimsim: note: {text}", Screen(stderr=True)))


def log(text: str) -> None:
    """Write one line of progress on stderr, above what is drawn there."""
    if _DRAWN:
        _DRAWN[-1].print(Text(text), soft_wrap=True)
    else:
        typer.echo(printable(text), err=True)


def fail(text: str) -> None:
    """Print an error on stderr."""
    log(_in_lines(f"cimsim: error: {text}", Screen(stderr=True)))


def _in_lines(text: str, screen: Screen) -> str:
    """``text`` in lines that fit the screen, if it is a terminal; paths stay in one piece."""
    return "\n".join(wrapped(text, screen.width, split=False)) if screen.is_terminal else text


def is_watched() -> bool:
    """Whether stderr is a terminal."""
    return Screen(stderr=True).is_terminal


@contextmanager
def drawn(display: Progress | Live) -> Iterator[None]:
    """Within the block, ``display`` is drawn at the bottom of the terminal, and lines that are
    written to stderr appear above it."""
    with display:
        if display.console.is_terminal:
            _DRAWN.append(display.console)
        try:
            yield
        finally:
            if display.console.is_terminal:
                _DRAWN.pop()


def _announce_stop() -> None:
    log("\ncimsim: the program stops after this step; press Ctrl-C again to stop at once")


@contextmanager
def resumable(how: str) -> Iterator[None]:
    """Within the block, Ctrl-C ends the command with code 130 and prints ``how`` to resume."""
    try:
        with interruptible(_announce_stop):
            yield
    except KeyboardInterrupt:
        log(f"\ncimsim: interrupted; {how}")
        raise typer.Exit(130) from None
