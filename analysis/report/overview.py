"""The first screen of a report: what was studied and what came out, in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from cimsim.analysis.headline import (
    AGE,
    CHIP,
    COST,
    ORDER,
    TOLERANCE,
    TRAINED,
    YIELD,
    Headline,
    best_of_each_topic,
)
from cimsim.analysis.report.blocks import (
    Block,
    Card,
    Cards,
    Group,
    Paragraph,
    Part,
    Picture,
    ReportRun,
    Section,
    Story,
    pictures_in,
)
from cimsim.analysis.report.per_run import UNFIT

KEY, TITLE = "overview", "In short"
_NUMBERS = (CHIP, TOLERANCE, COST, AGE, YIELD)
"""Topics whose numbers are shown large, the first three that exist."""
_CARDS = 3
_SHORT = (TRAINED, CHIP, AGE, TOLERANCE, COST)
"""Topics of the sentences about each of several runs; a single run has all."""
_SIMULATED = (
    "All numbers are simulated: a chip is one sample of the errors that the profile describes, and "
    "digital is the same network without a chip."
)


def overview(
    runs: Sequence[ReportRun], sections: Sequence[tuple[Part, Section | None]]
) -> Section | None:
    """Make the first screen from the other ``sections``; ``None`` if they say nothing."""
    chosen = {run: list(best_of_each_topic(_headlines(run, sections))) for run in runs}
    if not any(chosen.values()):
        return None
    topics = ORDER if len(runs) == 1 else _SHORT
    stories = [
        Story(run, " ".join(h.sentence for h in headlines if h.topic in topics))
        for run, headlines in chosen.items()
        if headlines
    ]
    blocks: list[Block] = [Paragraph(" ".join((*_studied(runs), _SIMULATED)))]
    cards = tuple(_cards(chosen))
    blocks += [Cards(cards)] if cards else []
    blocks.append(Group(tuple(stories)))
    blocks += [Group((picture,)) for picture in _picture(sections)]
    return Section(tuple(blocks))


def _headlines(
    run: ReportRun, sections: Iterable[tuple[Part, Section | None]]
) -> Iterator[Headline]:
    for part, section in sections:
        if section is not None:
            with suppress(*UNFIT):  # which its section shows
                yield from part.headlines(run)


def _studied(runs: Sequence[ReportRun]) -> Iterator[str]:
    """A sentence for each profile and data set."""
    groups: dict[tuple[str, str], list[str]] = {}
    for run in runs:
        profile = run.subject.assignment.profile
        with suppress(*UNFIT):  # data that are not there
            key = run.subject.data, f"{profile.name} ({profile.title})"
            groups.setdefault(key, []).append(run.name)
    for (data, profile_text), names in groups.items():
        tested = f"tested on {data}, " if data else ""
        count = "one network" if len(names) == 1 else f"{len(names)} networks"
        listed = ", ".join(names)
        yield f"Studied: {count} ({listed}), {tested}on simulated chips of {profile_text}."


def _cards(chosen: dict[ReportRun, list[Headline]]) -> Iterator[Card]:
    """The numbers of the first topics that have some, each of the runs that have the same one."""
    count = 0
    for topic in _NUMBERS:
        of = {run: h for run, hs in chosen.items() for h in hs if h.topic == topic and h.number}
        if of and count < _CARDS:
            count += 1
            what = next(iter(of.values())).what
            numbers = ((run, h.number) for run, h in of.items() if h.what == what)
            yield Card(what, tuple(numbers))


def _picture(sections: Sequence[tuple[Part, Section | None]]) -> Iterator[Picture]:
    """The first figure of a result; of a detail if there is no other."""
    for _, section in sorted(sections, key=lambda pair: pair[0].detail):
        for picture in () if section is None else pictures_in(section.blocks):
            yield picture
            return
