"""Tables that fit a terminal: columns that are left out, shortened names, and continued tables.

No line is longer than the terminal, and no number is split. A table that is too wide first gets
headings of several lines, then leaves out columns that are not essential, then shortens names, and
at last continues below with its first columns repeated.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from cimsim.analysis.sheet import Column, Sheet
from cimsim.terminal import one_line, printable

_SHORT_NAME, _SHORT_TEXT, _LEAST_TEXT = 12, 30, 18  # widths of names and texts
_BREAKS = "/,=."  # characters behind which a word that is longer than a line continues


@dataclass(frozen=True)
class Look:
    """How tables are drawn.

    Attributes:
        borders: whether there are lines between rows and columns.
        headings: whether the columns have headings.
        styles: styles of rich for cells with a certain text.
    """

    borders: bool = True
    headings: bool = True
    styles: Mapping[str, str] = field(default_factory=dict)

    def width(self, columns: Iterable[int]) -> int:
        """Width of a table with columns of these widths."""
        widths = list(columns)
        return sum(widths) + (3 * len(widths) + 1 if self.borders else 2 * len(widths))

    def table(self) -> Table:
        """An empty table."""
        if self.borders:
            return Table(show_header=self.headings)
        return Table(box=None, show_header=self.headings, padding=(0, 2, 0, 0))


FRAMED, LIST = Look(), Look(borders=False)


@dataclass(frozen=True)
class Fitted:
    """A sheet as a terminal of some width shows it.

    Attributes:
        tables: the table, and those that continue it below.
        left_out: headings of the columns that are not shown.
    """

    tables: tuple[Table, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class _Sized:
    """A column with the widths that it can have, in characters.

    Attributes:
        widest: heading and cells in one line each.
        narrow: headings and texts in several lines, names in full where they are short.
        least: names shortened as far as they stay different.
    """

    column: Column
    widest: int
    narrow: int
    least: int


def fitted_to(sheet: Sheet, width: int, wide: bool = False, look: Look = FRAMED) -> Fitted:
    """Fit a sheet into ``width`` characters; ``wide`` leaves out no column."""
    columns = [_sized(column, look) for column in sheet.columns]
    kept = list(columns)
    if not wide:
        for extra in reversed(columns):
            if look.width(each.narrow for each in kept) <= width:
                break
            if not extra.column.essential:
                kept.remove(extra)
    parts = _continued(kept, sheet.keys, width, look)
    tables = tuple(_table(part, width, look) for part in parts)
    return Fitted(tables, tuple(each.column.heading for each in columns if each not in kept))


def _sized(column: Column, look: Look) -> _Sized:
    longest = max(map(cell_len, column.cells), default=0)
    above = column.heading if look.headings else ""
    heading = max(map(cell_len, above.split()), default=0)
    widest = max(longest, cell_len(above))
    if column.kind == "number":
        narrow = least = max(longest, heading)
    elif column.kind == "name":
        least = max(heading, min(longest, _distinct_width(column.cells)))
        narrow = max(least, min(longest, 2 * _SHORT_NAME))
    else:
        narrow = max(heading, min(longest, _SHORT_TEXT))
        least = max(heading, min(longest, _LEAST_TEXT))
    return _Sized(column, widest, narrow, least)


def _continued(columns: Sequence[_Sized], keys: int, width: int, look: Look) -> list[list[_Sized]]:
    """Divide columns into tables that fit; each begins with the first ``keys`` columns.

    There are as few tables as possible, and they are about equally wide.
    """
    if look.width(each.least for each in columns) <= width:
        return [list(columns)]
    parts = _filled(columns, keys, width, look)
    for narrower in range(width - 1, 0, -1):
        other = _filled(columns, keys, narrower, look)
        if len(other) > len(parts):
            break
        parts = other
    return parts


def _filled(columns: Sequence[_Sized], keys: int, width: int, look: Look) -> list[list[_Sized]]:
    """Fill one table after the other."""
    first = list(columns[:keys])
    parts = [list(first)]
    for each in columns[keys:]:
        longer = [*parts[-1], each]
        if len(parts[-1]) > keys and look.width(one.least for one in longer) > width:
            parts.append([*first, each])
        else:
            parts[-1] = longer
    return parts


def _widths(columns: Sequence[_Sized], width: int, look: Look) -> list[int]:
    """Widths of the columns: the room goes to names first, then headings, then texts."""
    widths = [each.least for each in columns]
    room = width - look.width(widths)
    order = {"name": 0, "number": 1, "text": 2}
    for i in sorted(range(len(columns)), key=lambda i: order[columns[i].column.kind]):
        more = max(0, min(room, columns[i].widest - widths[i]))
        widths[i] += more
        room -= more
    for i, each in enumerate(columns):  # a terminal that is narrower than a name and a number
        if room < 0 and each.column.kind != "number":
            less = min(-room, widths[i] - 1)
            widths[i] -= less
            room += less
    return widths


def _table(columns: Sequence[_Sized], width: int, look: Look) -> Table:
    table = look.table()
    cells = []
    for each, own in zip(columns, _widths(columns, width, look), strict=True):
        column = each.column
        heading = Text("\n".join(wrapped(column.heading, own)))
        table.add_column(
            heading,
            justify="right" if column.kind == "number" else "left",
            no_wrap=True,
            width=own,
        )
        if column.kind == "name":
            cells.append(shortened_names(column.cells, own))
        elif column.kind == "text":
            cells.append(["\n".join(wrapped(cell, own)) for cell in column.cells])
        else:
            cells.append(list(map(one_line, column.cells)))
    for row in zip(*cells, strict=True):
        table.add_row(*(Text(cell, look.styles.get(cell, "")) for cell in row))
    return table


def wrapped(text: str, width: int, split: bool = True) -> list[str]:
    """Lines of at most ``width`` characters; only a word that is longer than a line is split, if
    ``split``.

    >>> wrapped("energy of all layers (µJ)", 10)
    ['energy of', 'all layers', '(µJ)']
    >>> wrapped("  an indented line", 12)
    ['  an', '  indented', '  line']
    >>> wrapped("/data/runs/aware/sweeps", 12)
    ['/data/runs/', 'aware/sweeps']
    """
    lines = []
    for paragraph in printable(text).splitlines() or [""]:
        words = paragraph.lstrip(" ")
        indent = paragraph[: min(len(paragraph) - len(words), width // 2)]
        line, room = "", width - len(indent)
        for word in words.split(" "):
            joined = f"{line} {word}" if line else word
            if cell_len(joined) <= room:
                line = joined
                continue
            if line:
                lines.append(indent + line)
            *full, line = _pieces(word, room) if split else [word]
            lines += [indent + piece for piece in full]
        lines.append(indent + line)
    return lines


def _pieces(word: str, width: int) -> list[str]:
    """The parts of a word, each of which fits a line."""
    pieces = []
    while cell_len(word) > width:
        end = next(i for i in range(len(word), 0, -1) if i == 1 or cell_len(word[:i]) <= width)
        at = max(word.rfind(char, 0, end) for char in _BREAKS) + 1 or end
        pieces.append(word[:at])
        word = word[at:]
    return [*pieces, word]


def shortened_names(names: Sequence[str], width: int) -> list[str]:
    """Leave out the middle of names that are longer than ``width``, so that they stay different.

    >>> shortened_names(["encoder.layer.1.query", "encoder.layer.2.query"], 12)
    ['enco…1.query', 'enco…2.query']
    """
    clean = list(map(one_line, names))
    different, best, most = len(set(clean)), clean, 0
    for eighths in (4, 5, 3, 6, 2, 7, 1, 0):  # of the width, before what is left out
        cut = [_cut(name, width, (width - 1) * eighths // 8) for name in clean]
        if len(set(cut)) > most:
            best, most = cut, len(set(cut))
        if most == different:
            break
    return best


def _cut(name: str, width: int, head: int) -> str:
    """``name``, with an ellipsis behind the first ``head`` characters if it is too long."""
    short, tail = name, width - 1 - head
    while cell_len(short) > width and head + tail >= 0:
        short = f"{name[:head]}…{name[len(name) - tail :]}"
        head, tail = (head, tail - 1) if tail else (head - 1, tail)  # of wide characters: fewer
    return short


def _distinct_width(names: Sequence[str]) -> int:
    """The smallest width, but not less than a short name's, at which different names differ."""
    clean = set(map(one_line, names))
    longest = max(map(cell_len, clean), default=0)
    width = _SHORT_NAME
    while width < longest and len(set(shortened_names(list(clean), width))) < len(clean):
        width += 1
    return width
