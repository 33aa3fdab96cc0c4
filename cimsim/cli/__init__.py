"""The command ``cimsim``. Thin: each command imports what it needs when it runs."""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated, TextIO

import typer

import cimsim
from cimsim.cli import (
    advise,
    budget,
    chip_yield,
    compare,
    console,
    cost,
    doctor,
    explore,
    generate,
    heat_map,
    life,
    methods,
    plot,
    profiles,
    report,
    sensitivity,
    sweep,
    tolerance,
    train,
)
from cimsim.errors import CimsimError, CimsimWarning

app = typer.Typer(
    name="cimsim",
    help="Simulate analog compute-in-memory hardware, and train networks that survive it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(profiles.app, name="profiles")
app.command("train")(train.train)
app.command("sweep")(sweep.sweep)
app.command("plot")(plot.plot)
app.command("map")(heat_map.heat_map)
app.command("tolerance")(tolerance.tolerance)
app.command("budget")(budget.budget)
app.command("sensitivity")(sensitivity.sensitivity)
app.command("advise")(advise.advise)
app.command("cost")(cost.cost)
app.command("explore")(explore.explore)
app.command("life")(life.life)
app.command("yield")(chip_yield.chip_yield)
app.command("compare")(compare.compare)
app.command("report")(report.report)
app.command("generate")(generate.generate)
app.command("methods")(methods.methods)
app.command("doctor")(doctor.doctor)


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code is 0, 2 for bad input, 130 for Ctrl-C."""
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
    """Print cimsim's own warnings as notes, without the place in the code that gave them."""
    if issubclass(category, CimsimWarning):
        console.remark(str(message))
    else:
        _show_other_warning(message, category, filename, lineno, file, line)


def _print_version(wanted: bool) -> None:
    if wanted:
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
