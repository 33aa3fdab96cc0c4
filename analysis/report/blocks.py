"""The blocks that the sections of a report consist of."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, NamedTuple, TypeAlias

from matplotlib.figure import Figure

from cimsim.analysis.headline import Headline
from cimsim.analysis.subjects import Subject


class ReportRun(NamedTuple):
    """A subject in a report: its number selects its color, its name is unique in the report."""

    number: int
    name: str
    subject: Subject

    @property
    def folder(self) -> Path:
        """Folder of its results."""
        assert self.subject.folder is not None  # checked before
        return self.subject.folder


@dataclass(frozen=True)
class Paragraph:
    """A paragraph; ``remark`` marks a note."""

    text: str
    remark: bool = False
    kind: ClassVar[str] = "paragraph"


@dataclass(frozen=True)
class Heading:
    """Heading of a part of a section."""

    text: str
    kind: ClassVar[str] = "heading"


@dataclass(frozen=True)
class Table:
    """A table, the first column of which names the rows.

    Attributes:
        right: columns of numbers.
        csv: the numbers in full, the shown ones by default; ``file`` is the name to save them
            under, empty if they are not offered.
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
        figure: figure of matplotlib, or the text of an SVG file.
        label: description.
        texts: texts of the points of named lines, see
            :func:`cimsim.analysis.figures.svg.points_of`.
        run: number of the only run that it shows, whose color it gets; None for several.
    """

    figure: Figure | str
    label: str
    texts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    run: int | None = None
    kind: ClassVar[str] = "picture"


@dataclass(frozen=True)
class Listing:
    """Literal text, such as commands; ``wrapped`` breaks long lines."""

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
    """Groups of blocks, one of which the reader chooses by its name; the first is shown first.

    All choices of one ``axis`` can be hidden together.
    """

    title: str
    axis: str
    options: Mapping[str, tuple[Block, ...]]
    kind: ClassVar[str] = "choice"


@dataclass(frozen=True)
class Group:
    """Blocks that belong together, such as a figure and its numbers; groups may be side by side."""

    blocks: tuple[Block, ...]
    kind: ClassVar[str] = "group"


@dataclass(frozen=True)
class RunBlock:
    """Blocks about the run of that number only, which are shown and hidden with it.

    Attributes:
        alone: whether no other run has such blocks in its section.
    """

    number: int
    blocks: tuple[Block, ...]
    alone: bool = False
    kind: ClassVar[str] = "of-run"


@dataclass(frozen=True)
class Cards:
    """Numbers in large print: for each, what it is and its value for some runs."""

    cards: tuple[Card, ...]
    kind: ClassVar[str] = "cards"


class Card(NamedTuple):
    """One number of some runs."""

    what: str
    numbers: tuple[tuple[ReportRun, str], ...]


@dataclass(frozen=True)
class Story:
    """Sentences about a run, after its name."""

    run: ReportRun
    text: str
    kind: ClassVar[str] = "story"


@dataclass(frozen=True)
class Terms:
    """Explanations of terms: each with its name, perhaps a key, and its meaning."""

    terms: tuple[tuple[str, str, str], ...]
    kind: ClassVar[str] = "terms"


Block: TypeAlias = (
    Paragraph
    | Heading
    | Table
    | Picture
    | Listing
    | Folded
    | Choice
    | Group
    | RunBlock
    | Cards
    | Story
    | Terms
)


def inner_blocks(block: Block) -> Iterable[Block]:
    """The blocks within a block, of which a choice shows the first at first."""
    if isinstance(block, Choice):
        return next(iter(block.options.values()), ())
    return block.blocks if isinstance(block, Group | RunBlock) else ()


def pictures_in(blocks: Iterable[Block]) -> Iterator[Picture]:
    """The pictures that are visible in unfolded ``blocks``."""
    for block in blocks:
        if isinstance(block, Picture):
            yield block
        yield from pictures_in(inner_blocks(block))


@dataclass(frozen=True)
class Section:
    """A section of a report; ``without`` are the runs that have no such result."""

    blocks: tuple[Block, ...]
    without: tuple[ReportRun, ...] = ()


def no_headlines(run: ReportRun) -> Iterable[Headline]:
    """The headlines of a part that has none."""
    return ()


@dataclass(frozen=True)
class Part:
    """A section that a report may have.

    Attributes:
        key: its anchor in the page.
        title: its heading.
        section: makes it from the runs; returns ``None`` if they have no such result.
        command: command that computes a missing result; ``RUN`` is a placeholder for the run.
        shows: patterns of the files that it shows; other files are shown among further results.
        headlines: what it says about one run on the first screen.
        detail: whether it is folded at first.
    """

    key: str
    title: str
    section: Callable[[Sequence[ReportRun]], Section | None]
    command: str = ""
    shows: tuple[str, ...] = ()
    headlines: Callable[[ReportRun], Iterable[Headline]] = no_headlines
    detail: bool = False


def rows_of_figures(section: Section) -> int:
    """Rows in which a wide page shows the figures of a section, two side by side.

    >>> picture = Picture("<svg/>", "")
    >>> both = [RunBlock(number, (picture,) * 3) for number in range(2)]
    >>> rows_of_figures(Section(tuple(both))), rows_of_figures(Section((picture,)))
    (3, 1)
    """
    columns, loose = [], 0
    for block in section.blocks:
        figures = sum(1 for _ in pictures_in([block]))
        if isinstance(block, RunBlock | Choice | Group) and not _is_alone(block):
            columns.append(figures)
        else:
            loose += -(-figures // 2) if _is_alone(block) else figures
    return loose + sum(max(columns[place : place + 2]) for place in range(0, len(columns), 2))


def _is_alone(block: Block) -> bool:
    return isinstance(block, RunBlock) and block.alone


def command_for(command: str, run: ReportRun) -> str:
    """A part's command for one run."""
    return command.replace("RUN", shlex.quote(run.subject.argument or path_text(run.folder)))


def path_text(path: Path) -> str:
    """A path as an argument of a command: one that begins with a dash would be an option.

    >>> path_text(Path("--help")), path_text(Path("runs/a"))
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
