"""The section of a study, made from its descriptor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from cimsim.analysis.headline import Headline
from cimsim.analysis.report.blocks import (
    Block,
    Folded,
    Group,
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
from cimsim.analysis.report.drawing import figure_of
from cimsim.analysis.report.per_run import (
    UNFIT,
    guard_errors,
    require_current_model,
    section_per_run,
)
from cimsim.analysis.sheet import Column, Sheet
from cimsim.analysis.shown import Shown
from cimsim.analysis.study import Result, Study, StudyResult
from cimsim.analysis.table import table_csv

_MOST_CHARACTERS = 72
"""Width of a table that fits into half a page."""


def study_parts(studies: Sequence[Study[Any]]) -> Iterator[Part]:
    """Yield a part for each section that the studies name."""
    for _, group in groupby(studies, key=lambda study: study.section):
        yield _part(tuple(group))


def _part(studies: tuple[Study[Any], ...]) -> Part:
    def section(runs: Sequence[ReportRun]) -> Section | None:
        return section_per_run(
            runs,
            lambda run: any(study.paths(run.folder) for study in studies),
            lambda run: _results(run, studies),
            studies[0].optional,
        )

    first = studies[0]
    folders = tuple(dict.fromkeys(f"{study.files.split('/')[0]}/*" for study in studies))
    return Part(
        first.section, first.title, section, first.again(), folders, partial(_headlines, studies)
    )


def _headlines(studies: tuple[Study[Any], ...], run: ReportRun) -> Iterator[Headline]:
    """What the results of a run say; damaged and outdated ones are shown in their section."""
    for study in studies:
        for path in study.paths(run.folder):
            with suppress(*UNFIT):
                result: Result = study.read_file(path, run.folder)
                if result.fingerprints:
                    require_current_model(run, result.fingerprints, study.again())
                if result.headline is not None:
                    yield result.headline


def _results(run: ReportRun, studies: Sequence[Study[Any]]) -> Iterator[Block]:
    for study in studies:
        for path in study.paths(run.folder):
            yield from guard_errors(_result, run, study, path)


def _result(run: ReportRun, study: Study[Any], path: Path) -> Iterator[Block]:
    result: Result = study.read_file(path, run.folder)
    if result.fingerprints:
        require_current_model(run, result.fingerprints, study.again())
    name = study.own_part(run.folder / f"{result.place}.json", run.folder)
    details = [text for text in (name, *result.conditions) if text]
    heading = (Heading(", ".join(details)),) if result.conditions else ()
    label = ", ".join([study.caption, *details, run.name])
    file = "-".join([study.name, *details, run.name])
    # A cost has the colors of its parts, and designs have the colors of their runs.
    number = run.number if isinstance(result, StudyResult) else None
    yield Group((*heading, *result_blocks(result, label, file, study.open_table, number)))


def result_blocks(
    result: Shown, label: str, file: str, open_table: bool = False, run: int | None = None
) -> Iterator[Block]:
    """Yield the figure of a result, its numbers and what it says in words.

    Args:
        result: the result.
        label: description of the figure.
        file: name to save the numbers under, without the extension.
        open_table: whether the table is shown unfolded.
        run: number of the only run that it is about.
    """
    if isinstance(result, Result):
        if result.answer:
            yield Paragraph(result.answer)
        yield from (Paragraph(text, remark=True) for text in result.warnings)
        for caption, text in result.listings().items():
            yield Listing(caption.rstrip(":"), text, wrapped=True)
    yield Picture(figure_of(result), label, result.hover(), run)
    table = _table(result.sheet(), file_name(f"{file}.csv"), table_csv(result.rows()))
    yield table if open_table else Folded("In numbers", (table,))
    for sheet in result.more_sheets():
        yield Folded(sheet.caption, (_table(sheet),))


def result_parts(results: Sequence[Shown]) -> Iterator[Part]:
    """Yield a part for each result that is given itself, not by the folder of its subject."""
    for number, result in enumerate(results, start=1):
        yield Part(f"result-{number}", result.about, partial(_given, result, f"result-{number}"))


def _given(result: Shown, file: str, runs: Sequence[ReportRun]) -> Section:
    return Section((Group(tuple(result_blocks(result, result.about, file))),))


def _table(sheet: Sheet, file: str = "", csv: str = "") -> Table:
    """A table beside which there may be another: a wide one has its essential columns, and its file
    all numbers."""
    if sum(map(_width, sheet.columns)) > _MOST_CHARACTERS:
        sheet = replace(sheet, columns=tuple(c for c in sheet.columns if c.essential))
    return Table(sheet.caption, sheet.headings, sheet.rows, sheet.right, file, csv)


def _width(column: Column) -> int:
    """Characters of a column, whose heading is broken between words."""
    return 3 + max(map(len, (*column.heading.split(), *column.cells)))
