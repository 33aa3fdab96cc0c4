"""Tables of numbers in CSV files."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import CimsimError
from cimsim.suggest import unknown
from cimsim.training.data.dataset import DataSet
from cimsim.training.data.own.reader import Reader, Seed, Share, TaskName, content_of
from cimsim.training.data.own.samples import Samples, data_set

Row = tuple[int, list[str]]  # number of its line, cells

_SEPARATORS = ",;\t"
_LABELS = ("class", "label", "labels", "target", "y")


class Table(Reader):
    """``.csv`` or ``.tsv`` with a row for each sample.

    ``label`` is the column to predict (the last one by default), by its name or its number from 1;
    it is required if a column before the last one is called class, label, labels, target or y.
    All other columns are numbers, except those named in ``drop``. ``header`` is whether the first
    row contains names; by default it does if none of its cells is a number, and it is required if
    the first row is 0, 1, 2, …. The separator is the most frequent of comma, semicolon and tab.
    """

    name: ClassVar[str] = "table"

    def __init__(
        self,
        label: str | None = None,
        drop: tuple[str, ...] = (),
        header: bool | None = None,
        test: Share = 0.2,
        seed: Seed = 0,
        task: TaskName | None = None,
    ) -> None:
        self.label, self.drop, self.header = label, drop, header
        self.test, self.seed, self.task = test, seed, task

    def read(self, path: Path) -> DataSet:
        """See :class:`Reader`."""
        try:
            samples = self._samples(_rows(content_of(path), path))
            return data_set(
                path.stem, samples, None, task=self.task, share=self.test, seed=self.seed
            )
        except CimsimError as error:
            message = str(error)
            raise CimsimError(
                message if message.startswith(str(path)) else f"{path}: {message}"
            ) from None

    def _samples(self, rows: list[Row]) -> Samples:
        names, rows = self._names(rows)
        if not rows:
            raise CimsimError("there are no rows below the header")
        for line, cells in rows:
            if len(cells) != len(names):
                raise CimsimError(f"line {line} has {len(cells)} cells, but others {len(names)}")
        label = _last(names) if self.label is None else _column(self.label, names)
        dropped = {_column(name, names) for name in self.drop}
        if label in dropped:
            raise CimsimError(f"the column '{names[label]}' is both the label and dropped")
        features = [at for at in range(len(names)) if at != label and at not in dropped]
        if not features:
            raise CimsimError("there is no column besides the label; check the separator")
        nameless = next((at for at in features if not names[at]), None)
        if nameless is not None:
            number = str(nameless + 1)
            drop = "" if number in names else f"leave it out with :drop={number}, or "
            raise CimsimError(
                f"column {number} has no name, as the numbers of rows that pandas writes unless "
                f"index=False; {drop}name it"
            )
        x = np.stack([_numbers(rows, at, names[at]) for at in features], axis=1)
        return Samples(x, _labels(rows, label, names[label]))

    def _names(self, rows: list[Row]) -> tuple[list[str], list[Row]]:
        """The names of the columns, and the rows of samples."""
        first = rows[0][1]
        header = self.header
        if header is None:
            numbered = [str(number) for number in range(len(first))]
            if len(first) > 1 and first in (numbered, ["", *numbered[:-1]]):
                raise CimsimError(
                    f"the first row is {','.join(first[:3])},…, as pandas names columns; write "
                    ":header=yes if these are names, or :header=no if they are a sample"
                )
            header = not any(_is_number(cell) for cell in first)
        if header:
            return first, rows[1:]
        return [str(number) for number in range(1, len(first) + 1)], rows


def _rows(content: bytes, path: Path) -> list[Row]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CimsimError(f"{path} is not text in UTF-8: {error}") from None
    beginning = next((line for line in text.splitlines() if line.strip()), "")
    separator = max(_SEPARATORS, key=beginning.count)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if row]
    except csv.Error as error:
        raise CimsimError(f"{path} is not a readable table: {error}") from None
    rows = [(line, cells) for line, cells in rows if any(cells)]
    if not rows:
        raise CimsimError(f"{path} is empty")
    return rows


def _column(name: str, names: Sequence[str]) -> int:
    """
    Raises:
        CimsimError: if there is no such column, or there are several.
    """
    if names.count(name) > 1:
        raise CimsimError(f"there are {names.count(name)} columns '{name}'; use a number")
    if name in names:
        return names.index(name)
    if name.isdecimal() and 1 <= int(name) <= len(names):
        return int(name) - 1
    raise CimsimError(unknown("column", name, names))


def _last(names: Sequence[str]) -> int:
    """The column of labels by default.

    Raises:
        CimsimError: if another one has the name of a label.
    """
    last = len(names) - 1
    others = [name for name in names[:last] if name.lower() in _LABELS]
    if others and names[last].lower() not in _LABELS:
        raise CimsimError(
            f"the last column, '{names[last] or last + 1}', is the label by default, but there is "
            f"a column '{others[0]}'; choose one with :label={others[0]} or "
            f":label={names[last] or last + 1}"
        )
    return last


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _numbers(rows: list[Row], at: int, name: str) -> NDArray[np.float64]:
    cells = [row[at] for _, row in rows]
    try:
        numbers = np.array([float(cell) for cell in cells])
    except ValueError:
        line, cell = next((n, row[at]) for n, row in rows if not _is_number(row[at]))
        what = f"'{cell}' is not a number" if cell else "the cell is empty"
        raise CimsimError(
            f"line {line}, column '{name}': {what}; drop the column with :drop={name}, or correct "
            "the row"
        ) from None
    bad = ~np.isfinite(numbers)
    if bad.any():
        line = rows[int(np.flatnonzero(bad)[0])][0]
        raise CimsimError(
            f"line {line}, column '{name}': {numbers[bad][0]} is not a finite number; fill or "
            "remove the row"
        )
    return numbers


def _labels(rows: list[Row], at: int, name: str) -> NDArray[Any]:
    """Return labels as whole numbers if all of them are, else as numbers, else as text."""
    cells = [row[at] for _, row in rows]
    empty = [line for line, row in rows if not row[at]]
    if empty:
        raise CimsimError(f"line {empty[0]}, column '{name}': there is no label; remove the row")
    try:
        return np.array([int(cell) for cell in cells], dtype=np.int64)
    except (ValueError, OverflowError):
        pass
    if all(_is_number(cell) for cell in cells):
        return _numbers(rows, at, name)
    return np.array(cells)
