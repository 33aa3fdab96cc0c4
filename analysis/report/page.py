"""Write a report as a page of HTML."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from matplotlib.figure import Figure

import cimsim
from cimsim import markup
from cimsim.analysis.figures.svg import Point, inline_svg, points_of, themed_svg
from cimsim.analysis.figures.theme import color
from cimsim.analysis.report import overview
from cimsim.analysis.report.blocks import (
    Choice,
    Part,
    Picture,
    ReportRun,
    Section,
    Table,
    command_for,
    rows_of_figures,
)
from cimsim.analysis.report.glossary import glossary_section
from cimsim.analysis.report.per_run import UNFIT, cannot_be_shown
from cimsim.analysis.report.sections import all_parts
from cimsim.analysis.report.sections.studies import result_parts
from cimsim.analysis.shown import Shown
from cimsim.analysis.studies.designs import subject_names
from cimsim.analysis.subjects import Subject
from cimsim.analysis.table import table_csv
from cimsim.errors import CimsimError

_MOST_ROWS = 11
"""Rows of figures in the sections that are unfolded at first, less than ten screens."""
_GLOSSARY = Part("glossary", "Glossary", lambda _: None, detail=True)


def report(
    subjects: Sequence[Subject],
    title: str = "",
    parts: Sequence[Part] | None = None,
    results: Sequence[Shown] = (),
) -> str:
    """Return a page about ``subjects``: a section for each of ``parts`` that they have results for,
    and one for each of ``results``.

    The page contains its figures, styles and scripts, needs no network, and is the same for the
    same results. If something cannot be shown, its error is shown instead.

    Args:
        subjects: subjects with folders, each once.
        title: heading of the page; the subjects' names by default.
        parts: sections in their order; all by default.
        results: results that are shown after those of the subjects.

    Raises:
        CimsimError: if a subject has no folder.
    """
    for subject in subjects:
        if subject.folder is None:
            raise CimsimError(
                f"{subject.name} keeps its results in memory; a report needs a subject with a "
                "folder"
            )
    names = subject_names(subjects)
    runs = [ReportRun(i, *pair) for i, pair in enumerate(zip(names, subjects, strict=True))]
    shown = all_parts() if parts is None else parts
    made = [(part, _section(part, runs)) for part in (*shown, *result_parts(results))]
    first = (Part(overview.KEY, overview.TITLE, lambda _: None), overview.overview(runs, made))
    sections = [(part, section) for part, section in (first, *made) if section is not None]
    templates = Environment(
        loader=PackageLoader("cimsim.analysis.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    drawn = _Drawn()
    macros: Any = templates.get_template("blocks.html").make_module({"drawn": drawn})
    bodies = [
        (part, opened, Markup("").join(macros.block(block) for block in section.blocks))
        for (part, section), opened in zip(sections, _opened(sections), strict=True)
    ]
    terms = glossary_section(runs, Markup("").join(body for *_, body in bodies).striptags())
    if terms is not None:
        bodies.append((_GLOSSARY, False, macros.block(*terms.blocks)))
    text = templates.get_template("page.html").render(
        title=title or ", ".join([*names, *(type(result).__name__ for result in results)]),
        runs=[(run.number, run.name) for run in runs],
        sections=bodies,
        missing=[
            (part.title, command_for(part.command, without))
            for part, section in made
            for without in (runs[:1] if section is None else section.without)
            if part.command
        ],
        axes=_axes([section for _, section in sections]),
        drawn=drawn,
        source=lambda name: Markup(_source(templates, name)),
        version=cimsim.__version__,
    )
    return f"{text}\n"


def _section(part: Part, runs: Sequence[ReportRun]) -> Section | None:
    """Make a section; an error in it leaves the others."""
    try:
        return part.section(runs)
    except UNFIT as error:
        return Section((cannot_be_shown(error),))


def _opened(sections: Sequence[tuple[Part, Section]]) -> Iterator[bool]:
    """Whether each section is unfolded at first: no details, and not more figures than a reader
    leafs through; at least one after the overview."""
    rows, details = 0, all(part.detail for part, _ in sections[1:])
    for place, (part, section) in enumerate(sections):
        rows += 0 if part.detail else rows_of_figures(section)
        yield rows <= _MOST_ROWS and (not part.detail or (details and place <= 1))


def _axes(sections: Sequence[Section]) -> list[str]:
    axes = [b.axis for section in sections for b in section.blocks if isinstance(b, Choice)]
    return list(dict.fromkeys(axes))


def _source(templates: Environment, name: str) -> str:
    assert templates.loader is not None
    return templates.loader.get_source(templates, name)[0]


@dataclass
class _Drawn:
    """Makes HTML from blocks, and collects the data that the page's script needs."""

    points: dict[str, list[Point]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    count: int = 0
    groups: int = 0

    def group(self) -> str:
        """Return the name of another choice."""
        self.groups += 1
        return f"choice-{self.groups}"

    def swatch(self, number: int) -> Markup:
        """A patch of a run's color."""
        shade = color(number)
        shade = "currentColor" if shade == "#000000" else shade
        return Markup('<span class="swatch" style="background: {}"></span>').format(shade)

    def picture(self, picture: Picture) -> Markup:
        """A figure as SVG."""
        self.count += 1
        name = f"figure-{self.count}"
        try:
            title = ""
            if isinstance(picture.figure, Figure):
                title = str(picture.figure.get_label())
                svg = inline_svg(picture.figure, f"f{self.count}-", picture.label, picture.run)
                self.points[name] = points_of(picture.figure, picture.texts)
            else:
                svg = themed_svg(picture.figure, f"f{self.count}-", picture.label)
        except CimsimError as error:
            return escape(f"{picture.label}: the file {error}")
        except UNFIT as error:
            return escape(f"{picture.label}: {cannot_be_shown(error).text}")
        caption = Markup("<figcaption>{}</figcaption>").format(title) if title else Markup("")
        return caption + Markup(svg)

    def table(self, table: Table) -> Markup:
        """A table."""
        return Markup(markup.table(table.headings, table.rows, table.caption, table.right))

    def file(self, table: Table) -> str:
        """Return a unique name to save the table's numbers under."""
        csv = table.csv or table_csv([table.headings, *table.rows])
        name, number = table.file, 1
        while self.files.setdefault(name, csv) != csv:
            number += 1
            name = f"{Path(table.file).stem}-{number}.csv"
        return name

    def data(self) -> Markup:
        """Return the script's data as JSON that cannot end its HTML element."""
        known = {"points": self.points, "files": self.files}
        text = json.dumps(known, ensure_ascii=False, separators=(",", ":"))
        return Markup(text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e"))
