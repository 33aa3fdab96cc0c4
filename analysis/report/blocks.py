"""What a report consists of: sections, made of a few kinds of blocks."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, NamedTuple, TypeAlias

from matplotlib.figure import Figure

from cimsim.training.run import Run


class Shown(NamedTuple):
    """A run in a report: its number decides its color, its name tells it from the others."""

    number: int
    name: str
    run: Run


@dataclass(frozen=True)
class Words:
    """A paragraph; ``remark`` sets it apart."""

    text: str
    remark: bool = False
    kind: ClassVar[str] = "words"


@dataclass(frozen=True)
class Heading:
    """Begins a part of a section."""

    text: str
    kind: ClassVar[str] = "heading"


@dataclass(frozen=True)
class Table:
    """A table, whose first column names its rows.

    Attributes:
        right: columns that hold numbers.
        csv: the numbers in full, by default what is shown; ``file`` is the name to save them by,
            empty where they are not offered.
    """

    caption: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: Collection[int] = ()
    file: str = ""
    csv: str = ""
    kind: ClassVar[str] = "table"


@dataclass(frozen=True)
class Picture:
    """A figure.

    Attributes:
        figure: of matplotlib, or the text of an SVG file.
        label: what it shows, in words.
        texts: what the points of named lines tell, see :func:`cimsim.analysis.svg.points_of`.
    """

    figure: Figure | str
    label: str
    texts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    kind: ClassVar[str] = "picture"


@dataclass(frozen=True)
class Listing:
    """Text as it is: commands, or what a model has written; with ``wrapped`` long lines are
    broken."""

    caption: str
    text: str
    wrapped: bool = False
    kind: ClassVar[str] = "listing"


@dataclass(frozen=True)
class Folded:
    """Blocks that open on a click."""

    summary: str
    blocks: tuple[Block, ...]
    kind: ClassVar[str] = "folded"


@dataclass(frozen=True)
class Choice:
    """Blocks of which the reader chooses one group by its name; the first is shown at first.

    All choices of one ``axis`` can be switched off together.
    """

    title: str
    axis: str
    options: Mapping[str, tuple[Block, ...]]
    kind: ClassVar[str] = "choice"


@dataclass(frozen=True)
class OfRun:
    """Blocks about the run of that number only, which are switched with it."""

    number: int
    blocks: tuple[Block, ...]
    kind: ClassVar[str] = "of-run"


Block: TypeAlias = Words | Heading | Table | Picture | Listing | Folded | Choice | OfRun


@dataclass(frozen=True)
class Section:
    """What a report says about one matter; ``without`` are the runs that have no such result."""

    blocks: tuple[Block, ...]
    without: tuple[Shown, ...] = ()


@dataclass(frozen=True)
class Part:
    """A section that a report may have.

    Attributes:
        key: its address in the page.
        title: its heading.
        section: makes it of the runs; ``None`` where they have no such result.
        command: makes the result where it is missing; ``RUN`` stands for the run.
        shows: files of a run that it shows, as patterns; what no part shows is shown as it is.
    """

    key: str
    title: str
    section: Callable[[Sequence[Shown]], Section | None]
    command: str = ""
    shows: tuple[str, ...] = ()


def typed(command: str, run: Run) -> str:
    """A part's command for one run."""
    return command.replace("RUN", shlex.quote(typed_path(run.path)))


def typed_path(path: Path) -> str:
    """A path as it is typed: one that begins with a dash would be an option.

    >>> typed_path(Path("--help")), typed_path(Path("runs/a"))
    ('./--help', 'runs/a')
    """
    text = str(path)
    return f"./{text}" if text.startswith("-") else text


def file_name(text: str) -> str:
    """``text`` as the name of a file.

    >>> file_name("adc.bits of a/b")
    'adc.bits-of-a-b'
    """
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in text)
