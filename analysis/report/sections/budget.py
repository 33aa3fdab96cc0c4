"""What each non-ideality of the device costs each run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cimsim.analysis.budget import ALONE, REST, Budget, draw_budget, read_budget
from cimsim.analysis.report.blocks import Block, Part, Section, Shown
from cimsim.analysis.report.each import drawn, refuse_old, section_of_each, told
from cimsim.analysis.shapley import NAME as SHAPLEY
from cimsim.analysis.shapley import Attribution, draw_attribution, read_attribution
from cimsim.analysis.store import BUDGET
from cimsim.analysis.waterfall import NAME as WATERFALL
from cimsim.analysis.waterfall import Waterfall, draw_waterfall, read_waterfall

_COMMAND = "cimsim budget RUN"


def section(runs: Sequence[Shown]) -> Section | None:
    """Each alone and all but each, one after another, and shared out; whatever was measured."""
    return section_of_each(runs, f"{BUDGET}/*.json", _blocks)


def _blocks(shown: Shown) -> Iterator[Block]:
    for name, blocks in ((BUDGET, _budget), (WATERFALL, _waterfall), (SHAPLEY, _shapley)):
        if (shown.run.path / BUDGET / f"{name}.json").is_file():
            yield from told(blocks, shown)


def _budget(shown: Shown) -> Iterator[Block]:
    budget = read_budget(shown.run.path)
    refuse_old(shown, budget.facts.checkpoint_sha256, _COMMAND)
    yield from drawn(shown, budget, draw_budget(budget), "Error budget", _of_budget(budget), BUDGET)


def _waterfall(shown: Shown) -> Iterator[Block]:
    steps = read_waterfall(shown.run.path)
    refuse_old(shown, steps.facts.checkpoint_sha256, f"{_COMMAND} --waterfall")
    what = "Non-idealities switched on one after another"
    yield from drawn(shown, steps, draw_waterfall(steps), what, _of_steps(steps), WATERFALL)


def _shapley(shown: Shown) -> Iterator[Block]:
    shares = read_attribution(shown.run.path)
    refuse_old(shown, shares.facts.checkpoint_sha256, f"{_COMMAND} --shapley")
    what = "The loss shared out over non-idealities"
    yield from drawn(shown, shares, draw_attribution(shares), what, _of_shares(shares), SHAPLEY)


def _of_budget(budget: Budget) -> dict[str, list[str]]:
    metric = budget.facts.measured
    return {
        title: [
            f"{share.name}\n{title}: {part.shown_with_unit(metric)}\n{what}: {change.shown(metric)}"
            for share, part, change in parts
        ]
        for title, what, parts in (
            (ALONE, "lost", [(share, share.alone, share.lost) for share in budget.shares]),
            (REST, "gained", [(share, share.rest, share.gained) for share in budget.shares]),
        )
    }


def _of_steps(found: Waterfall) -> dict[str, list[str]]:
    metric = found.facts.measured
    lines = [f"none of them\n{found.nothing.shown_with_unit(metric)}"]
    for step in found.steps:
        after, lost = step.after.shown_with_unit(metric), step.lost.shown(metric)
        lines.append(f"+ {step.name}\nwith it: {after}\nlost by it: {lost}")
    lines.append(f"all of them\nlost: {found.lost.shown(metric)}")
    return {WATERFALL: lines}


def _of_shares(found: Attribution) -> dict[str, list[str]]:
    metric = found.facts.measured
    return {SHAPLEY: [f"{share.name}\nshare: {share.lost.shown(metric)}" for share in found.shares]}


PART = Part("budget", "Error budget", section, _COMMAND, (f"{BUDGET}/*",))
