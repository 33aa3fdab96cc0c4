"""Other figures (SVG) and tables (CSV) in the runs' folders."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path

from cimsim.analysis.report.blocks import (
    Block,
    Folded,
    Heading,
    Listing,
    Paragraph,
    Part,
    Picture,
    ReportRun,
    Section,
    Table,
    file_name,
)
from cimsim.analysis.table import table_csv
from cimsim.reading import read_text

_MOST_ROWS = 200
_LARGEST = 20_000_000  # no browser opens a larger page
_KINDS = (".svg", ".csv")


def section_without(shown_elsewhere: Sequence[str]) -> Part:
    """Return the part that shows all files of runs that match none of the patterns."""

    def section(runs: Sequence[ReportRun]) -> Section | None:
        blocks: list[Block] = []
        for run in runs:
            for folder, files in _folders(run.folder, shown_elsewhere).items():
                blocks.append(Heading(f"{run.name}: {folder}"))
                for file in files:
                    blocks += _block(file, f"{run.name}-{folder}-{file.name}")
        return Section(tuple(blocks)) if blocks else None

    return Part("results", "Further results", section, detail=True)


def _folders(run: Path, shown_elsewhere: Sequence[str]) -> dict[str, list[Path]]:
    """The files of each folder of the run, figures first."""
    folders: dict[str, list[Path]] = {}
    files = (path for path in run.rglob("*") if path.suffix in _KINDS and path.is_file())
    for path in sorted(files, key=lambda path: (path.parent, path.suffix != ".svg", path.name)):
        place = path.relative_to(run)
        hidden = any(part.startswith(".") for part in place.parts)
        if not hidden and not any(
            fnmatch(place.as_posix(), pattern) for pattern in shown_elsewhere
        ):
            folder = "the run" if place.parent == Path() else place.parent.as_posix()
            folders.setdefault(folder, []).append(path)
    return folders


def _block(path: Path, file: str) -> Iterator[Block]:
    name = path.stem.replace("_", " ").replace("-", " ")
    try:
        text = read_text(path, _LARGEST)
        yield Picture(text, name) if path.suffix == ".svg" else _table(text, name, file_name(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        yield Paragraph(f"{path} cannot be shown: {reason}", remark=True)


def _table(text: str, name: str, file: str) -> Block:
    rows = [tuple(row) for row in csv.reader(text.splitlines()) if row]
    if not rows or any(len(row) != len(rows[0]) for row in rows):
        return Folded(name, (Listing(name, text),))
    headings, *values = rows
    first = values[:_MOST_ROWS]
    right = [i for i in range(len(headings)) if all(_is_number(row[i]) for row in first)]
    table = Table(name, headings, tuple(first), right, file, table_csv(rows))
    if len(values) <= _MOST_ROWS:
        return Folded(name, (table,))
    cut = f"The first {_MOST_ROWS} of {len(values)} rows; the file has all."
    return Folded(name, (table, Paragraph(cut, remark=True)))


def _is_number(cell: str) -> bool:
    try:
        float(cell or "nan")
    except ValueError:
        return False
    return True
