"""How to get the same numbers again: commands, versions, seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cimsim.analysis.report.blocks import Block, Folded, Listing, Part, Section, Shown, Table, Words
from cimsim.analysis.report.commands import commands_of, started_by
from cimsim.analysis.report.each import cannot_be_shown
from cimsim.errors import CimsimError
from cimsim.training.records import read_environment


def section(runs: Sequence[Shown]) -> Section | None:
    """The commands of every run, and where they were run."""
    environments: list[dict[str, Any]] = []
    faults: list[Block] = []
    for shown in runs:
        try:
            environments.append(read_environment(shown.run.path))
        except CimsimError as error:
            environments.append({})
            faults.append(cannot_be_shown(error))
    same = (
        "The same versions on the same kind of machine give the same numbers; every chip is named "
        "by its seed."
    )
    blocks: list[Block] = [Words(same), *faults]
    for shown, environment in zip(runs, environments, strict=True):
        commands, started = "\n".join(commands_of(shown.run)), started_by(environment)
        blocks += [
            Listing(f"Commands of {shown.name}", commands, wrapped=True),
            Folded(f"How {shown.name} was started", (Listing("As typed", started, wrapped=True),)),
        ]
    blocks.append(_table(runs, environments))
    return Section(tuple(blocks))


def _table(runs: Sequence[Shown], environments: Sequence[dict[str, Any]]) -> Table:
    facts = []
    for shown, found in zip(runs, environments, strict=True):
        run = shown.run
        facts.append(
            {
                **{name: found.get(name) for name in ("cimsim", "python", "platform", "threads")},
                **found.get("packages", {}),
                "training seed": run.config.seed,
                "seed of the chip after training": run.result.get("chip_seed"),
                "SHA-256 of the weights": run.checkpoint_sha256,
                "fingerprint of the data": run.result.get("data_fingerprint"),
            }
        )
    names = dict.fromkeys(name for of in facts for name in of)
    rows = tuple((name, *(str(of.get(name, "")) for of in facts)) for name in names)
    headings = ("", *(shown.name for shown in runs))
    return Table("Versions and seeds", headings, rows, (), "versions.csv")


PART = Part("reproduce", "How to reproduce it", section)
