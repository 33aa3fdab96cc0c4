"""From runs to a page of HTML."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from matplotlib.figure import Figure

import cimsim
from cimsim import markup
from cimsim.analysis.names import distinct_names
from cimsim.analysis.plot import color
from cimsim.analysis.report.blocks import (
    Choice,
    Part,
    Picture,
    Section,
    Shown,
    Table,
    typed,
)
from cimsim.analysis.report.each import UNFIT, cannot_be_shown
from cimsim.analysis.report.sections import PARTS
from cimsim.analysis.svg import Point, inline_svg, points_of, themed_svg
from cimsim.analysis.table import table_csv
from cimsim.errors import CimsimError
from cimsim.training.run import Run


def report(runs: Sequence[Run], title: str = "", parts: Sequence[Part] = PARTS) -> str:
    """A page about ``runs``: a section for each of ``parts`` that they have results for.

    The page holds its figures, styles and scripts, needs no network, and is the same for the same
    runs. What cannot be shown is said in its place.

    Args:
        runs: finished runs, each once.
        title: heading of the page; by default the runs' names.
        parts: what to tell, in this order.
    """
    names = distinct_names([run.path for run in runs])
    shown = [Shown(i, name, run) for i, (name, run) in enumerate(zip(names, runs, strict=True))]
    found = [(part, _section(part, shown)) for part in parts]
    templates = Environment(
        loader=PackageLoader("cimsim.analysis.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    drawn = _Drawn()
    page = templates.get_template("page.html")
    text = page.render(
        title=title or ", ".join(names),
        runs=[(run.number, run.name, color(run.number)) for run in shown],
        sections=[(part, section) for part, section in found if section is not None],
        missing=[
            (part.title, typed(part.command, without.run))
            for part, section in found
            for without in (shown[:1] if section is None else section.without)
            if part.command
        ],
        axes=_axes([section for _, section in found if section is not None]),
        drawn=drawn,
        source=lambda name: Markup(_source(templates, name)),
        version=cimsim.__version__,
    )
    return f"{text}\n"


def _section(part: Part, runs: Sequence[Shown]) -> Section | None:
    """A fault in one part leaves the others."""
    try:
        return part.section(runs)
    except UNFIT as error:
        return Section((cannot_be_shown(error),))


def _axes(sections: Sequence[Section]) -> list[str]:
    axes = [b.axis for section in sections for b in section.blocks if isinstance(b, Choice)]
    return list(dict.fromkeys(axes))


def _source(templates: Environment, name: str) -> str:
    assert templates.loader is not None
    return templates.loader.get_source(templates, name)[0]


@dataclass
class _Drawn:
    """Makes HTML of blocks, and remembers what the page's script has to know of them."""

    points: dict[str, list[Point]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    count: int = 0
    groups: int = 0

    def group(self) -> str:
        """The name of one more choice."""
        self.groups += 1
        return f"choice-{self.groups}"

    def picture(self, picture: Picture) -> Markup:
        """A figure as SVG."""
        self.count += 1
        name = f"figure-{self.count}"
        try:
            if isinstance(picture.figure, Figure):
                svg = inline_svg(picture.figure, f"f{self.count}-", picture.label)
                self.points[name] = points_of(picture.figure, picture.texts)
            else:
                svg = themed_svg(picture.figure, f"f{self.count}-", picture.label)
        except CimsimError as error:
            return escape(f"{picture.label}: the file {error}")
        except UNFIT as error:
            return escape(f"{picture.label}: {cannot_be_shown(error).text}")
        return Markup(svg)

    def table(self, table: Table) -> Markup:
        """A table."""
        return Markup(markup.table(table.headings, table.rows, table.caption, table.right))

    def file(self, table: Table) -> str:
        """The name by which the table's numbers can be saved, which no other table has."""
        csv = table.csv or table_csv([table.headings, *table.rows])
        name, number = table.file, 1
        while self.files.setdefault(name, csv) != csv:
            number += 1
            name = f"{Path(table.file).stem}-{number}.csv"
        return name

    def data(self) -> Markup:
        """What the script has to know, as JSON that cannot end the element it stands in."""
        known = {"points": self.points, "files": self.files}
        text = json.dumps(known, ensure_ascii=False, separators=(",", ":"))
        return Markup(text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e"))
