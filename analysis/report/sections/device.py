"""The devices: what each does to conductances, every number with its source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cimsim.analysis.device_plot import draw_device
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
)
from cimsim.analysis.table import table_csv
from cimsim.physics.characteristics import Characteristic, characteristics
from cimsim.profile import Profile, describe
from cimsim.units import parse_duration

_AGES_S = tuple(map(parse_duration, ("1s", "1h", "1d", "1y")))
_TARGETS = 5


def section(runs: Sequence[Shown]) -> Section | None:
    """Each different device once, with the runs that were trained for it."""
    users: dict[str, list[Shown]] = {}
    for shown in runs:
        users.setdefault(shown.run.profile.model_dump_json(), []).append(shown)
    blocks: list[Block] = []
    for number, of in enumerate(users.values()):
        blocks += _device(of[0].run.profile, [shown.name for shown in of], number)
    return Section(tuple(blocks))


def _device(profile: Profile, users: Sequence[str], number: int) -> Iterator[Block]:
    cell = profile.cell
    name = profile.name if number == 0 else f"{profile.name}-{number + 1}"
    span = cell.g_max_uS - cell.g_min_uS
    targets = [cell.g_min_uS + span * part / (_TARGETS - 1) for part in range(_TARGETS)]
    rows = characteristics(profile, targets, _AGES_S)
    _, *sections = describe(profile)
    yield Heading(f"{profile.name}: {profile.title}")
    yield Words(f"Device of {', '.join(users)}. {' '.join(profile.description.split())}")
    yield Picture(
        draw_device(profile, targets, _AGES_S),
        f"What {profile.name} does to conductances: programming, drift, reads",
    )
    yield Folded(
        "The curves in numbers",
        (
            Table(
                f"Conductances of {profile.name}, in µS",
                Characteristic._fields,
                tuple(tuple("" if v is None else f"{v:.4g}" for v in row) for row in rows),
                range(len(Characteristic._fields)),
                file_name(f"device-{name}.csv"),
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
    yield Folded("Every number of the device, and its source", (table,))


PART = Part("device", "On which device", section)
