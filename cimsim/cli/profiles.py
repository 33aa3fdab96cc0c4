"""``cimsim profiles``: list, explain and check device profiles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from cimsim.cli import console

if TYPE_CHECKING:
    from cimsim.profile import DescribedSection

app = typer.Typer(help="List, explain and check device profiles.", no_args_is_help=False)


@app.callback(invoke_without_command=True)
def profiles(context: typer.Context) -> None:
    """List, explain and check device profiles."""
    if context.invoked_subcommand is None:
        list_profiles()


@app.command("list")
def list_profiles() -> None:
    """List the profiles that come with cimsim."""
    from cimsim.profile import load_profile, profile_names

    table = Table(box=None, pad_edge=False)
    for heading in ("name", "technology", "title"):
        table.add_column(heading, no_wrap=heading == "name", overflow="fold")
    for name in profile_names():
        profile = load_profile(name)
        table.add_row(Text(name), Text(profile.cell.technology), Text(profile.title))
    console.show(table)


@app.command()
def show(
    profile: Annotated[str, typer.Argument(metavar="NAME|FILE", help="Profile to explain.")],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a value first; may be repeated."),
    ] = None,
) -> None:
    """Explain a device in words and numbers, with the source of each number."""
    from cimsim.profile import describe, load_profile

    for section in describe(load_profile(profile, overrides or [])):
        console.page(_explained(section))


@app.command()
def validate(files: Annotated[list[Path], typer.Argument(help="Profile files.")]) -> None:
    """Check profile files; every fault is printed as file:line:column: message."""
    from cimsim.profile import validate_file

    faulty = False
    for file in files:
        faults = validate_file(file)
        faulty = faulty or bool(faults)
        for line in map(str, faults) if faults else [f"{file}: ok"]:
            console.say(line)
    if faulty:
        raise typer.Exit(2)


@app.command()
def schema() -> None:
    """Print the JSON schema of profiles, for editors."""
    from cimsim.profile import profile_schema

    console.say(json.dumps(profile_schema(), indent=2))


def _explained(section: DescribedSection) -> Group:
    """A section: what it models, its equation, its values, and their sources."""
    parts: list[RenderableType] = [Text(section.heading, style="bold")]
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="cyan")
    table.add_column(overflow="fold")
    table.add_column(overflow="fold", style="dim")
    for row in section.rows:
        if row.label == "equation":
            parts.append(_indented(Text(row.meaning)))
            parts.extend(_indented(Text(line), 4) for line in row.value.splitlines())
        else:
            table.add_row(Text(row.label), Text(row.value), Text(row.meaning))
    if table.row_count:
        parts.append(_indented(table))
    parts.extend(_indented(Text(line, style="dim")) for line in _sources(section))
    return Group(*parts, Text())


def _indented(content: RenderableType, columns: int = 2) -> Padding:
    return Padding(content, (0, 0, 0, columns), expand=False)


def _sources(section: DescribedSection) -> list[str]:
    """Each source once, with the values it stands for where there are several."""
    labels: dict[str, list[str]] = {}
    for row in section.rows:
        if row.source:
            labels.setdefault(row.source, []).append(row.label)
    if len(labels) == 1:
        return [f"source: {source}" for source in labels]
    return [f"source of {', '.join(of)}: {source}" for source, of in labels.items()]
