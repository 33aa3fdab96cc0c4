"""The command ``cimsim``. Each command imports large libraries only when it runs."""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated, Any, TextIO

import typer

import cimsim
from cimsim.analysis.studies import STUDIES
from cimsim.analysis.study import Study
from cimsim.cli import app as app_command
from cimsim.cli import (
    compare,
    console,
    cost,
    doctor,
    generate,
    methods,
    models,
    plot,
    profiles,
    report,
    sweep,
    train,
)
from cimsim.cli.studies import study_command
from cimsim.errors import CimsimError, CimsimWarning

app = typer.Typer(
    name="cimsim",
    help="Simulate analog compute-in-memory hardware, and train networks that survive it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def add_study(study: Study[Any], app: typer.Typer = app) -> None:
    """Add the command of a study, if it has one."""
    if study.run is not None:
        app.command(study.command)(study_command(study))


app.add_typer(profiles.app, name="profiles")
app.command("train")(train.train)
app.command("sweep")(sweep.sweep)
app.command("plot")(plot.plot)
for _study in STUDIES:
    add_study(_study)
app.command("cost")(cost.cost)
app.command("compare")(compare.compare)
app.command("report")(report.report)
app.command("app")(app_command.app)
app.command("generate")(generate.generate)
app.command("methods")(methods.methods)
app.command("models")(models.models)
app.command("doctor")(doctor.doctor)


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, 2 for bad input, 130 for Ctrl-C."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A name that the terminal cannot show must not end the command.
            stream.reconfigure(errors="backslashreplace")
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            app(args, prog_name="cimsim")
    except CimsimError as error:
        console.fail(str(error))
        return 2
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        console.fail(f"{place}{error.strerror or error}")
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


_show_other_warning = warnings.showwarning


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print cimsim's own warnings as notes, without their place in the code."""
    if issubclass(category, CimsimWarning):
        console.remark(str(message))
    else:
        _show_other_warning(message, category, filename, lineno, file, line)


def _print_version(requested: bool) -> None:
    if requested:
        console.say(f"cimsim {cimsim.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    pass
