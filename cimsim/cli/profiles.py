"""``cimsim profiles``: list, explain, check, compare, fit, import and export profiles."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from cimsim.analysis.sheet import Column, Sheet
from cimsim.cli import console, exchange
from cimsim.cli.evaluation import Wide
from cimsim.cli.figures import look_from, look_options, refuse_look
from cimsim.cli.profile_tables import characteristics_sheet, fit_sheets
from cimsim.cli.tables import LIST
from cimsim.errors import CimsimError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cimsim.analysis.figures.look import Look
    from cimsim.profile import DescribedSection

profiles = typer.Typer(
    help="List, explain, check, fit, import and export profiles.",
    no_args_is_help=False,
    add_completion=False,
)
profiles.command("import")(exchange.import_)
profiles.command("export")(exchange.export)


@profiles.callback(invoke_without_command=True)
def _list_without_command(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        list_profiles()


@profiles.command("list")
def list_profiles() -> None:
    """List the profiles that come with cimsim."""
    from cimsim.profile import load_profile, profile_names

    shipped = list(map(load_profile, profile_names()))
    columns = (
        Column("name", tuple(profile.name for profile in shipped), kind="text"),
        Column("technology", tuple(profile.cell.technology for profile in shipped), kind="name"),
        Column("title", tuple(profile.title for profile in shipped), kind="text"),
    )
    console.show_sheet(Sheet("", columns), look=LIST)


@profiles.command()
def show(
    profile: Annotated[str, typer.Argument(metavar="NAME|FILE", help="Profile to explain.")],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a value first; can be repeated."),
    ] = None,
) -> None:
    """Explain a profile in words and numbers, with the source of each number."""
    from cimsim.profile import describe, load_profile

    for section in describe(load_profile(profile, overrides or [])):
        console.page(_explained(section))


@profiles.command()
def validate(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Profile files.")],
) -> None:
    """Check profile files and print every issue as file:line:column: message."""
    from cimsim.profile import validate_file
    from cimsim.profile.issues import issue_lines

    invalid = False
    for file in files:
        issues = validate_file(file)
        invalid = invalid or bool(issues)
        for line in issue_lines(issues) if issues else [f"{file}: ok"]:
            console.say(line)
    if invalid:
        raise typer.Exit(2)


@profiles.command()
def schema() -> None:
    """Print the JSON schema of profiles, for editors."""
    from cimsim.profile import profile_schema

    console.say(json.dumps(profile_schema(), indent=2))


@profiles.command()
@look_options
def curves(
    profile: Annotated[str, typer.Argument(metavar="NAME|FILE", help="Profile to show.")],
    g: Annotated[
        str | None,
        typer.Option(
            metavar="uS,uS,...", help="Target conductances in µS.", show_default="5 over the range"
        ),
    ] = None,
    t: Annotated[
        str,
        typer.Option(metavar="TIME,TIME,...", help="Ages in seconds, or text such as 1h,1d."),
    ] = "1s,1h,1d",
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a value first; can be repeated."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FIGURE", help="Also draw a figure, one panel per effect."),
    ] = None,
    wide: Wide = False,
    **settings: Any,
) -> None:
    """Print the conductances of a profile, for comparison with a paper.

    For each target and age, print the programming spread around the target (including a tabulated
    spread at that age), the mean and spread of the drift exponent (power laws only), the spread
    added by relaxation, the conductance of a cell without any spread, and the spread of one read.
    """
    from cimsim.physics.characteristics import characteristics
    from cimsim.profile import load_profile
    from cimsim.units import parse_duration

    if out is None:
        refuse_look(settings, "add --out")
    look = look_from(settings, out)
    chosen = load_profile(profile, overrides or [])
    low, high = chosen.cell.g_min_uS, chosen.cell.g_max_uS
    targets = _numbers(g) if g else [low + (high - low) * part / 4 for part in range(5)]
    ages = [parse_duration(text) for text in t.split(",")]
    rows = characteristics(chosen, targets, ages)
    if out is not None:
        from cimsim.analysis.figures.canvas import save
        from cimsim.analysis.figures.profile_curves import draw_profile

        save(draw_profile(chosen, targets, ages, look), out, look)
    if as_json:
        fields = {"profile": chosen.name, "rows": [row._asdict() for row in rows]}
        console.say(json.dumps(fields, indent=2))
        return
    console.show_sheet(characteristics_sheet(chosen, rows), wide)


@profiles.command()
@look_options
def new(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Name of the new profile, such as my-device.")
    ],
    measured: Annotated[
        Path,
        typer.Option(
            "--from-csv",
            metavar="FILE.csv",
            help="Measurements: g_target_uS, g_measured_uS, time_s, and optionally cell and read.",
        ),
    ],
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--column",
            metavar="OURS=THEIRS",
            help="Header of a column, such as g_target_uS='G set [S]', or its number, such as #3; "
            "can be repeated.",
        ),
    ] = None,
    units: Annotated[
        list[str] | None,
        typer.Option(
            "--unit",
            metavar="[COLUMN=]UNIT",
            help="Unit of a column, such as g_measured_uS=nS or time_s=ms; can be repeated.",
        ),
    ] = None,
    delimiter: Annotated[
        str | None,
        typer.Option(help="Separator of values: a character, or tab.", show_default="detected"),
    ] = None,
    decimal: Annotated[
        str | None, typer.Option(help="Decimal mark, . or a comma.", show_default="detected")
    ] = None,
    encoding: Annotated[
        str | None,
        typer.Option(help="Encoding, such as utf-16 or latin-1.", show_default="detected"),
    ] = None,
    skip_rows: Annotated[int, typer.Option(help="Number of lines above the header to skip.")] = 0,
    date_order: Annotated[
        str | None,
        typer.Option(metavar="dmy|mdy|ymd", help="Order of dates.", show_default="detected"),
    ] = None,
    time_tolerance: Annotated[
        str | None,
        typer.Option(
            metavar="SHARE|TIME",
            help="Largest difference between times of one age, such as 10% or 30s; 0 separates "
            "all.",
            show_default="detected",
        ),
    ] = None,
    keep_outliers: Annotated[
        bool,
        typer.Option("--keep-outliers", help="Keep stuck cells and outlying reads in the fit."),
    ] = False,
    like: Annotated[
        str,
        typer.Option(metavar="NAME|FILE", help="Profile to take array and converters from."),
    ] = "pcm-ibm-2020",
    technology: Annotated[str, typer.Option(help="Technology of the cells.")] = "measured",
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.yaml", help="Profile to write.", show_default="NAME.yaml"),
    ] = None,
    figure: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.png", help="Figure of the fit.", show_default="next to the profile"
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing files.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the estimates as JSON.")] = False,
    wide: Wide = False,
    **settings: Any,
) -> None:
    """Fit a profile to measured conductances, and draw the fit over the data.

    Programming noise, drift and read noise become tables, and stuck cells become a rate; effects
    that were not measured are left out with a note. Array, converters and costs are copied from
    another profile and marked as assumptions. Encoding, delimiter, decimal mark, units and dates of
    the file are detected; notes report assumptions, and options override them.
    """
    from dataclasses import asdict

    from cimsim.analysis.figures.canvas import save
    from cimsim.analysis.figures.fit import draw_fit
    from cimsim.files import replacing
    from cimsim.fitting import (
        Reading,
        assignments,
        build_profile,
        fit_device,
        read_measurements,
    )
    from cimsim.profile import dump_profile, load_profile, profile_names

    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise CimsimError(f"'{name}' is not a valid profile name; use letters, digits, dots and -")
    if name in profile_names():
        raise CimsimError(f"'{name}' is a profile that comes with cimsim; choose another name")
    target = out or Path(f"{name}.yaml")
    picture = figure or target.with_suffix(".png")
    look = look_from(settings, picture)
    if target.suffix not in (".yaml", ".yml"):
        raise CimsimError(f"{target}: the name of a profile file must end in .yaml")
    if target.exists() and not force:
        raise CimsimError(f"{target} exists; choose another name, or add --force")
    base = load_profile(like)
    reading = Reading(
        delimiter=delimiter,
        decimal=decimal,
        encoding=encoding,
        skip_rows=skip_rows,
        columns=assignments("--column", columns or ()),
        units=assignments("--unit", units or (), bare=True),
        date_order=date_order,
        time_tolerance=time_tolerance,
    )
    data = read_measurements(measured, reading)
    fit = fit_device(data, keep_outliers)
    profile = build_profile(name, fit, base, measured.name, technology)
    if not force:
        _refuse_other_pictures(draw_fit(name, data, fit, look), picture, look)
    # The profile gets its name last, so that a failure on either side leaves neither.
    with replacing(target) as temporary:
        temporary.write_text(dump_profile(profile), encoding="utf-8")
        written = save(draw_fit(name, data, fit, look), picture, look)
    if as_json:
        console.say(json.dumps(asdict(fit), indent=2))
        return
    for sheet in fit_sheets(fit):
        console.show_sheet(sheet, wide)
    for note in fit.notes:
        console.remark(note)
    for path in (target, *written):
        console.say(str(path))


def _refuse_other_pictures(figure: Figure, path: Path, look: Look) -> None:
    """Refuse to overwrite figures, unless an interrupted command left the same ones."""
    from cimsim.analysis.figures.canvas import files_of, save

    present = [file for file in files_of(path, look) if file.exists()]
    if not present:
        return
    with tempfile.TemporaryDirectory() as folder:
        save(figure, Path(folder) / path.name, look)
        for there in present:
            if there.read_bytes() != (Path(folder) / there.name).read_bytes():
                raise CimsimError(f"{there} exists; choose another name, or add --force")


def _numbers(text: str) -> list[float]:
    try:
        return [float(word) for word in text.split(",")]
    except ValueError:
        raise CimsimError(
            f"--g '{text}': must be numbers separated by commas, such as 0,5,10"
        ) from None


def _explained(section: DescribedSection) -> Group:
    """A section: its meaning, equation, values and their sources."""
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
    """Each source once, with the values that it covers if there are several."""
    labels: dict[str, list[str]] = {}
    for row in section.rows:
        if row.source:
            labels.setdefault(row.source, []).append(row.label)
    if len(labels) == 1:
        return [f"source: {source}" for source in labels]
    return [f"source of {', '.join(of)}: {source}" for source, of in labels.items()]
