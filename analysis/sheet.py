"""Tables for people: columns with a heading, a unit and cells of text.

A table is shown in a terminal (:mod:`cimsim.cli.tables` fits it to the width), in a notebook, or in
a report. The numbers in full are in the CSV of a result.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from cimsim.quantities import Scale, plain_number, scale_of
from cimsim.terminal import aligned

Kind: TypeAlias = Literal["number", "name", "text"]


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: heading without the unit.
        cells: text of each row.
        unit: unit of all numbers, which the heading contains in brackets.
        kind: ``number``, aligned at the right; ``name`` of a layer, a run or a profile, the middle
            of which a narrow terminal may leave out; or ``text``, which may continue in the next
            line.
        essential: whether a narrow terminal shows the column; other columns are shown if there is
            room, with ``--wide``, and wherever the width is not limited.

    >>> Column("energy", ("3.96",), "µJ").heading
    'energy (µJ)'
    """

    name: str
    cells: tuple[str, ...]
    unit: str = ""
    kind: Kind = "number"
    essential: bool = True

    @property
    def heading(self) -> str:
        """Name and unit."""
        return f"{self.name} ({self.unit})" if self.unit else self.name


def quantities(
    name: str, unit: str, values: Iterable[float | None], essential: bool = True
) -> Column:
    """Make a column of numbers in base units, all shown in the same unit with three digits.

    >>> quantities("energy", "J", [3.957e-6, 2.5e-7, None])
    Column(name='energy', cells=('3.96', '0.25', '-'), unit='µJ', kind='number', essential=True)
    """
    values = tuple(values)
    return scaled(name, scale_of(values, unit), values, essential)


def scaled(
    name: str, scale: Scale, values: Iterable[float | None], essential: bool = True
) -> Column:
    """Make a column of numbers in base units, shown in the unit of ``scale``, which several columns
    may share."""
    return Column(name, tuple(map(scale.number, values)), scale.unit, essential=essential)


def percentages(name: str, shares: Iterable[float | None], essential: bool = True) -> Column:
    """Make a column of shares from 0 to 1, shown in percent with three digits.

    >>> percentages("used", [0.5, 0.00123]).cells
    ('50', '0.123')
    """
    cells = ("-" if share is None else plain_number(100 * share) for share in shares)
    return Column(name, tuple(cells), "%", essential=essential)


@dataclass(frozen=True)
class Sheet:
    """A table to show.

    Attributes:
        caption: description of the numbers, in one line.
        columns: columns from left to right, the most important ones first.
        keys: number of columns at the left that name a row; where a table continues below because
            it is too wide, they are repeated.
    """

    caption: str
    columns: tuple[Column, ...]
    keys: int = 1

    @property
    def headings(self) -> tuple[str, ...]:
        """Heading of each column."""
        return tuple(column.heading for column in self.columns)

    @property
    def rows(self) -> tuple[tuple[str, ...], ...]:
        """Cells of each row."""
        return tuple(zip(*(column.cells for column in self.columns), strict=True))

    @property
    def right(self) -> tuple[int, ...]:
        """Columns that are aligned at the right."""
        return tuple(i for i, column in enumerate(self.columns) if column.kind == "number")

    def __str__(self) -> str:
        return f"{self.caption}\n{aligned([self.headings, *self.rows], self.right)}"


def columns_of(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> tuple[Column, ...]:
    """Fill ``columns`` without cells from ``rows``.

    >>> [column.cells for column in columns_of([Column("a", ()), Column("b", ())], [["1", "2"]])]
    [('1',), ('2',)]
    """
    cells = list(zip(*rows, strict=True)) or [()] * len(columns)
    return tuple(
        Column(each.name, tuple(own), each.unit, each.kind, each.essential)
        for each, own in zip(columns, cells, strict=True)
    )
