"""What each non-ideality of the device costs each run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cimsim.analysis.budget import ALONE, REST, draw_budget, read_budget
from cimsim.analysis.metric import Metric
from cimsim.analysis.report.blocks import (
    Block,
    Folded,
    Heading,
    Part,
    Picture,
    Section,
    Shown,
    Table,
    Words,
    file_name,
    not_measured,
)
from cimsim.analysis.store import BUDGET
from cimsim.analysis.study import table_csv
from cimsim.units import format_duration

_COMMAND = "cimsim budget RUN"


def section(runs: Sequence[Shown]) -> Section | None:
    """One budget after the other."""
    found = [(shown.run.path / BUDGET / f"{BUDGET}.json").is_file() for shown in runs]
    if not any(found):
        return None
    blocks: list[Block] = []
    for shown, there in zip(runs, found, strict=True):
        blocks += _budget(shown) if there else [not_measured(shown, _COMMAND)]
    return Section(tuple(blocks))


def _budget(shown: Shown) -> Iterator[Block]:
    again = f"run the same `cimsim budget {shown.run.path}` again"
    yield Heading(shown.name)
    budget = read_budget(shown.run.path)
    facts, metric = budget.facts, budget.facts.measured
    if facts.checkpoint_sha256 != shown.run.checkpoint_sha256:
        yield Words(f"The model is not the one whose budget this was; {again}.", remark=True)
        return
    texts = {
        title: [
            f"{share.name}\n{title}: {part.shown(metric)}{_unit(metric)}\n{what}: "
            f"{change.shown(metric)}"
            for share, part, change in parts
        ]
        for title, what, parts in (
            (ALONE, "lost", [(share, share.alone, share.lost) for share in budget.shares]),
            (REST, "gained", [(share, share.rest, share.gained) for share in budget.shares]),
        )
    }
    yield Picture(draw_budget(budget), f"Error budget of {shown.name}", texts)
    caption = (
        f"{metric.heading} of {shown.name} on {facts.profile}, {facts.counted} at "
        f"{format_duration(facts.age_s)}, {facts.noise:g} times the noise"
    )
    rows = [("none", budget.nothing.shown(metric), "", "", "")]
    for share in budget.shares:
        values = (p.shown(metric) for p in (share.alone, share.lost, share.rest, share.gained))
        rows.append((share.name, *values))  # type: ignore[arg-type]
    rows.append(("all", budget.everything.shown(metric), "", "", ""))
    headings = ("non-ideality", "alone", "lost", "all but it", "gained")
    csv = table_csv(budget.table())
    file = file_name(f"budget-{shown.name}.csv")
    yield Folded("In numbers", (Table(caption, headings, tuple(rows), range(1, 5), file, csv),))


def _unit(metric: Metric) -> str:
    return f" {metric.unit}" if metric.unit else ""


PART = Part(
    "budget",
    "Error budget",
    section,
    _COMMAND,
    ("budget/results.csv", "budget/budget.svg"),
)
