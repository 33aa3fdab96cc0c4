"""The section on reproducing results: commands, versions, seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cimsim.analysis.report.blocks import (
    Block,
    Folded,
    Listing,
    Paragraph,
    Part,
    ReportRun,
    Section,
    Table,
)
from cimsim.analysis.report.per_run import cannot_be_shown
from cimsim.errors import CimsimError
from cimsim.runs.commands import commands_of, started_by
from cimsim.runs.subject import RunSubject, finished, run_of
from cimsim.training.records import read_environment

_ENVIRONMENT = ("cimsim", "python", "platform", "threads")


def section(runs: Sequence[ReportRun]) -> Section | None:
    """List the commands of every run, and its environment."""
    if not (runs := finished(runs)):
        return None
    environments: list[dict[str, Any]] = []
    errors: list[Block] = []
    for run in runs:
        try:
            environments.append(read_environment(run.folder))
        except CimsimError as error:
            environments.append({})
            errors.append(cannot_be_shown(error))
    same = (
        "The same versions on the same kind of machine give the same numbers; every chip is "
        "identified by its seed."
    )
    blocks: list[Block] = [Paragraph(same), *errors]
    for run, environment in zip(runs, environments, strict=True):
        assert isinstance(run.subject, RunSubject)
        commands, started = "\n".join(commands_of(run.subject)), started_by(environment)
        listing = Listing("Command line", started, wrapped=True)
        blocks += [
            Listing(f"Commands of {run.name}", commands, wrapped=True),
            Folded(f"How {run.name} was started", (listing,)),
        ]
    blocks.append(_table(runs, environments))
    return Section(tuple(blocks))


def _table(runs: Sequence[ReportRun], environments: Sequence[dict[str, Any]]) -> Table:
    facts = []
    for report_run, environment in zip(runs, environments, strict=True):
        run = run_of(report_run.subject)
        facts.append(
            {
                **{
                    name: environment.get(name)
                    for name in ("cimsim", "python", "platform", "threads")
                },
                **environment.get("packages", {}),
                "training seed": run.config.seed,
                "seed of the chip after training": run.result.get("chip_seed"),
                "SHA-256 of the weights": run.checkpoint_sha256,
                "fingerprint of the data": run.result.get("data_fingerprint"),
            }
        )
    names = dict.fromkeys(name for of in facts for name in of)
    rows = tuple((name, *(str(of.get(name, "")) for of in facts)) for name in names)
    headings = ("", *(run.name for run in runs))
    return Table("Versions and seeds", headings, rows, (), "versions.csv")


PART = Part("reproduce", "How to reproduce it", section, detail=True)
