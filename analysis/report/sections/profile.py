"""The profiles: their effect on conductances, and every number with its source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cimsim.analysis.figures.profile_curves import draw_profile
from cimsim.analysis.report.blocks import (
    Block,
    Folded,
    Heading,
    Paragraph,
    Part,
    Picture,
    ReportRun,
    Section,
    Table,
    file_name,
)
from cimsim.analysis.report.drawing import fitted
from cimsim.analysis.table import table_csv
from cimsim.physics.characteristics import Characteristic, characteristics
from cimsim.profile import Profile, describe
from cimsim.units import parse_duration

_AGES_S = tuple(map(parse_duration, ("1s", "1h", "1d", "1y")))
_TARGETS = 5


def section(runs: Sequence[ReportRun]) -> Section | None:
    """Make each different profile once, with the runs that use it."""
    users: dict[str, list[ReportRun]] = {}
    for run in runs:
        users.setdefault(run.subject.assignment.profile.model_dump_json(), []).append(run)
    blocks: list[Block] = []
    for number, of in enumerate(users.values()):
        names = [run.name for run in of]
        blocks += _profile(of[0].subject.assignment.profile, names, number)
    return Section(tuple(blocks))


def _profile(profile: Profile, users: Sequence[str], number: int) -> Iterator[Block]:
    cell = profile.cell
    name = profile.name if number == 0 else f"{profile.name}-{number + 1}"
    span = cell.g_max_uS - cell.g_min_uS
    targets = [cell.g_min_uS + span * part / (_TARGETS - 1) for part in range(_TARGETS)]
    rows = characteristics(profile, targets, _AGES_S)
    _, *sections = describe(profile)
    yield Heading(f"{profile.name}: {profile.title}")
    yield Paragraph(f"Profile of {', '.join(users)}. {' '.join(profile.description.split())}")
    yield Picture(
        fitted(draw_profile(profile, targets, _AGES_S)),
        f"Conductances on {profile.name}: programming, drift, reads",
    )
    yield Folded(
        "The curves in numbers",
        (
            Table(
                f"Conductances of {profile.name}, in µS",
                Characteristic._fields,
                tuple(tuple("" if v is None else f"{v:.4g}" for v in row) for row in rows),
                range(len(Characteristic._fields)),
                file_name(f"conductances-{name}.csv"),
                table_csv([Characteristic._fields, *rows]),
            ),
        ),
    )
    headings = ("section", "key", "value", "meaning", "source")
    values = tuple(
        (part.heading, row.label, row.value, row.meaning, row.source)
        for part in sections
        for row in part.rows
    )
    file = file_name(f"profile-{name}.csv")
    table = Table(f"The profile {profile.name}", headings, values, (), file)
    yield Folded("Every number of the profile, and its source", (table,))


PART = Part("profile", "Profile", section, detail=True)
