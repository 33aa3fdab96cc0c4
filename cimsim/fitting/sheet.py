"""Extraction of a table from text: its header, its rows, and the lines around them."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from cimsim.errors import CimsimError
from cimsim.fitting.columns import REQUIRED, recognized, role_named, same_column
from cimsim.fitting.issues import Issues
from cimsim.fitting.numerals import is_numeric
from cimsim.fitting.reading import DELIMITERS, Reading
from cimsim.fitting.unit_names import is_unit

_SEPARATOR = re.compile(r"\s*\"?sep=(.)\"?\s*", re.IGNORECASE)
_COMMENT = re.compile(r"\s*\"?[#%!]")
_MOST_LINES_ABOVE = 500
_NAMES = {"\t": "tabs", ";": "semicolons", "|": "vertical bars", " ": "spaces", ",": "commas"}


@dataclass(frozen=True)
class Sheet:
    """Table of a file as texts.

    Attributes:
        header: names of the columns.
        units: unit of each column from a row of units below the header; empty without one.
        lines: line of each row in the file, from 1.
        rows: values, one per column in each row.
        delimiter: separator of values.
        notes: sentences on assumptions.
    """

    header: list[str]
    units: list[str]
    lines: list[int]
    rows: list[list[str]]
    delimiter: str
    notes: tuple[str, ...]


class _Header(NamedTuple):
    """A candidate for the header line, with its score."""

    score: int
    line: int
    delimiter: str
    names: list[str]


def read_sheet(path: Path, text: str, reading: Reading, issues: Issues) -> Sheet:
    """Find the table in a text.

    The header is the line that names most of the known columns. Lines above it, empty lines, lines
    that begin with ``#`` or ``%``, and repetitions of the header are skipped.

    Args:
        path: the file, for messages.
        text: its content.
        reading: settings.
        issues: collects rows of a wrong length.

    Raises:
        CimsimError: if there is no table.
    """
    lines = list(io.StringIO(text, newline=""))
    start, delimiter = _after_separator(lines, reading)
    header = _find_header(path, lines, start, delimiter, reading)
    body = "".join(lines[header.line :])
    numbered = _rows(path, body, header)
    if _is_without(header, reading):
        numbered = [(header.line, header.names), *numbered]
        header = header._replace(names=[f"#{i + 1}" for i in range(len(header.names))])
    notes = _notes(lines, start, header, reading)
    names = list(header.names)
    while names and not names[-1].strip():
        names.pop()
    kept = [(line, row) for line, row in numbered if [c.strip() for c in row] != header.names]
    if len(kept) < len(numbered):
        notes.append(
            f"{_count(len(numbered) - len(kept), 'line repeats', 'lines repeat')} the header."
        )
    units: list[str] = []
    if kept and _is_row_of_units(kept[0][1]):
        units = [*kept[0][1], *[""] * len(names)][: len(names)]
        kept = kept[1:]
    if not kept:
        raise CimsimError(f"{path}: there are no measurements below the header")
    rows = _of_equal_length(kept, len(names), header.delimiter, issues)
    return Sheet(
        names, units, [line for line, _ in rows], [row for _, row in rows], header.delimiter,
        tuple(notes),
    )  # fmt: skip


def _after_separator(lines: list[str], reading: Reading) -> tuple[int, str | None]:
    """Return the first line to search, and the delimiter if the file or the user gives it."""
    start, delimiter = reading.skip_rows, reading.delimiter
    first = next((i for i, line in enumerate(lines) if line.strip()), 0)
    match = _SEPARATOR.fullmatch(lines[first].rstrip("\r\n")) if lines else None
    if match:
        return max(start, first + 1), delimiter or match[1]
    return start, delimiter


def _find_header(
    path: Path, lines: list[str], start: int, delimiter: str | None, reading: Reading
) -> _Header:
    best: _Header | None = None
    named = {role_named(key): name for key, name in reading.columns.items()}
    for number in range(start, min(len(lines), start + _MOST_LINES_ABOVE)):
        line = lines[number].strip("\r\n")
        comment = _COMMENT.match(line)
        if not line.strip(f"{delimiter or ''},;\t| "):
            continue
        for candidate in (delimiter,) if delimiter else DELIMITERS:
            names = _split(line[comment.end() :] if comment else line, candidate)
            roles = set(recognized(names)) | {
                role
                for role, name in named.items()
                if role and any(same_column(text, part) for text in names
                                for part in (name, *name.split("+")))
            }  # fmt: skip
            # A comment is the header only if no other line is.
            score = 2 * len(roles & set(REQUIRED)) - bool(comment)
            if len(names) > 1 and (best is None or score > best.score):
                best = _Header(score, number + 1, candidate, names)
        if reading.skip_rows and best is not None:
            break
        if best is not None and best.score == 2 * len(REQUIRED):
            break
    if best is None or best.score <= 0:
        best = _first_line(lines, start, delimiter) or best
    if best is None:
        raise CimsimError(f"{path}: the file is empty; it needs the columns {', '.join(REQUIRED)}")
    return best


def _first_line(lines: list[str], start: int, delimiter: str | None) -> _Header | None:
    """Return the first line that is not a comment, if no line names a known column."""
    for number, line in enumerate(lines[start:], start=start):
        if line.strip() and not _COMMENT.match(line):
            split = [(c, _split(line, c)) for c in ((delimiter,) if delimiter else DELIMITERS)]
            chosen, names = max(split, key=lambda pair: len(pair[1]))
            return _Header(0, number + 1, chosen, names)
    return None


def _split(line: str, delimiter: str) -> list[str]:
    try:
        row = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
    except csv.Error:
        return []
    return [name.strip() for name in row]


def _rows(path: Path, body: str, header: _Header) -> list[tuple[int, list[str]]]:
    reader = csv.reader(
        io.StringIO(body, newline=""), delimiter=header.delimiter, skipinitialspace=True
    )
    try:
        return [
            (header.line + reader.line_num, row)
            for row in reader
            if any(cell.strip() for cell in row) and not _COMMENT.match(row[0])
        ]
    except csv.Error:
        raise CimsimError(f"{path}: not a CSV file of plain text") from None


def _is_without(header: _Header, reading: Reading) -> bool:
    """Return whether the file has no header and the user gave the numbers of the columns."""
    numbers = reading.columns and all(name.startswith("#") for name in reading.columns.values())
    return bool(numbers) and all(map(is_numeric, filter(None, header.names)))


def _is_row_of_units(row: list[str]) -> bool:
    """Return whether no value is a number and at least one is a unit."""
    return any(map(is_unit, row)) and not any(is_numeric(cell) for cell in row)


def _of_equal_length(
    rows: list[tuple[int, list[str]]], width: int, delimiter: str, issues: Issues
) -> list[tuple[int, list[str]]]:
    """Return the rows without empty trailing values; add issues for rows of a wrong length."""
    kept, wrong = [], []
    for line, row in rows:
        if breaks := sum(len(value.splitlines()) - 1 for value in row if value):
            issues.add(
                "a quoted value that starts here spans several lines; close or remove the quote",
                line - breaks,
            )
            continue
        while len(row) > width and not row[-1].strip():
            row = row[:-1]
        if len(row) == width:
            kept.append((line, row))
        else:
            wrong.append((line, len(row)))
    if len(wrong) == len(rows) and delimiter == "," and all(n > width for _, n in wrong):
        issues.add(
            f"every line has {wrong[0][1]} values for {width} columns: commas separate values "
            "and seem to be decimal marks too; export with semicolons or tabs, or with values in "
            "double quotes",
            wrong[0][0],
        )
        return kept
    for line, count in wrong:
        issues.add(f"the line must have {width} values, not {count}", line)
    return kept


def _notes(lines: list[str], start: int, header: _Header, reading: Reading) -> list[str]:
    notes = []
    if header.delimiter != "," and reading.delimiter is None:
        notes.append(f"Values are separated by {_NAMES.get(header.delimiter, header.delimiter)}.")
    above = [
        line
        for line in lines[start : header.line - 1]
        if line.strip(f"{header.delimiter} \r\n") and not _COMMENT.match(line)
    ]
    if above:
        notes.append(
            f"{_count(len(above), 'line', 'lines')} above the header (line {header.line}) "
            f"{'was' if len(above) == 1 else 'were'} skipped."
        )
    return notes


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
