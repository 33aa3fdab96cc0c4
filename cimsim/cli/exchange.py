"""``cimsim profiles import`` and ``export``: configurations of other libraries."""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cimsim.cli import console
from cimsim.errors import CimsimError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cimsim.exchange import Note


class Library(str, Enum):
    """A library to which profiles are exported."""

    aihwkit = "aihwkit"
    crosssim = "crosssim"


def import_(
    origin: Annotated[
        str,
        typer.Argument(
            metavar="FILE.json|LIBRARY:NAME|MODULE:OBJECT",
            help="Configuration to import: a JSON file, which needs no other library and runs no "
            "code; a preset such as aihwkit:StandardHWATrainingPreset or crosssim:ISAAC; or "
            "package.module:object, whose module is imported.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.yaml", help="Profile to write.", show_default="NAME.yaml"),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Name of the profile.", show_default="the name of the file"
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the fields without a counterpart as JSON.")
    ] = False,
) -> None:
    """Convert a configuration of aihwkit or CrossSim to a profile.

    Every field becomes a key of the profile, or is listed with its value and the consequence of
    having no exact counterpart. Fields that have their default and no effect are not listed.
    """
    from cimsim.exchange import import_profile
    from cimsim.files import write_text
    from cimsim.profile import dump_profile, profile_names

    if name is None and out is not None:
        name = out.stem
    imported = import_profile(origin, name)
    profile = imported.profile
    if profile.name in profile_names():
        raise CimsimError(
            f"'{profile.name}' is a profile that comes with cimsim; choose another --name"
        )
    target = out or Path(f"{profile.name}.yaml")
    _refuse(target, (".yaml", ".yml"), force)
    write_text(target, dump_profile(profile))
    _report(imported.notes, target, as_json)


def export(
    profile: Annotated[str, typer.Argument(metavar="NAME|FILE", help="Profile to export.")],
    to: Annotated[Library, typer.Option("--to", help="Library to export to.")],
    out: Annotated[
        Path,
        typer.Option(
            metavar="FILE.py|FILE.json",
            help="File to write: Python code with a function make() that returns the "
            "configuration, or JSON.",
        ),
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a value first; can be repeated."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the values without a counterpart as JSON.")
    ] = False,
) -> None:
    """Convert a profile to a configuration of aihwkit or CrossSim.

    The library need not be installed. Values of the profile that the configuration cannot represent
    are listed, with the values that replace them.
    """
    from cimsim.exchange import to_aihwkit, to_crosssim
    from cimsim.files import write_text
    from cimsim.profile import load_profile

    chosen = load_profile(profile, overrides or [])
    exported = to_aihwkit(chosen) if to is Library.aihwkit else to_crosssim(chosen)
    _refuse(out, (".py", ".json"), force)
    if out.suffix == ".json":
        text = exported.json()
    else:
        text = exported.python(f"The profile {chosen.name} of cimsim for {exported.library}")
    write_text(out, text)
    _report(exported.notes, out, as_json)


def _refuse(target: Path, endings: tuple[str, ...], force: bool) -> None:
    if target.suffix not in endings:
        raise CimsimError(f"{target}: the name of this file must end in {' or '.join(endings)}")
    if target.exists() and not force:
        raise CimsimError(f"{target} exists; choose another name, or add --force")


def _report(notes: Sequence[Note], target: Path, as_json: bool) -> None:
    if as_json:
        console.say(json.dumps([note._asdict() for note in notes], indent=2))
        return
    for note in notes:
        console.remark(str(note))
    console.say(str(target))
