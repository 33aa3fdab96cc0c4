"""The section of a study, made from its descriptor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from cimsim.analysis.report.blocks import (
    Block,
    Folded,
    Listing,
    Paragraph,
    Part,
    Picture,
    ReportRun,
    Section,
    Table,
    file_name,
)
from cimsim.analysis.report.per_run import (
    guard_errors,
    require_current_model,
    section_per_run,
)
from cimsim.analysis.study import Result, Sheet, Study
from cimsim.analysis.table import table_csv


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
    return Part(first.section, first.title, section, first.again(), folders)


def _results(run: ReportRun, studies: Sequence[Study[Any]]) -> Iterator[Block]:
    for study in studies:
        for path in study.paths(run.folder):
            yield from guard_errors(_result, run, study, path)


def _result(run: ReportRun, study: Study[Any], path: Path) -> Iterator[Block]:
    result: Result = study.read_file(path, run.folder)
    if result.fingerprints:
        require_current_model(run, result.fingerprints, study.again())
    if result.answer:
        yield Paragraph(result.answer)
    yield from (Paragraph(text, remark=True) for text in result.warnings)
    for caption, text in result.listings().items():
        yield Listing(caption.rstrip(":"), text, wrapped=True)
    name = study.own_part(path, run.folder)
    over = f", {name}" if name else ""
    yield Picture(result.figure(), f"{study.caption}{over}, {run.name}", result.hover())
    file = f"{study.name}-{name}-{run.name}" if name else f"{study.name}-{run.name}"
    table = _table(result.sheet(), file_name(f"{file}.csv"), table_csv(result.rows()))
    yield table if study.open_table else Folded("In numbers", (table,))
    for sheet in result.more_sheets():
        yield Folded(sheet.caption, (_table(sheet),))


def _table(sheet: Sheet, file: str = "", csv: str = "") -> Table:
    return Table(sheet.caption, sheet.headings, sheet.rows, sheet.right, file, csv)
