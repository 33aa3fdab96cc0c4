"""The command ``cimsim``. A command is imported when it is used, large libraries when it runs."""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated, TextIO

import typer

import cimsim
from cimsim.cli import console
from cimsim.cli.deferred import Commands
from cimsim.errors import CimsimError, CimsimWarning

command_line = typer.Typer(
    cls=Commands,
    name="cimsim",
    help="Simulate analog compute-in-memory hardware, and train neural networks for it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, 2 for bad input, 130 for Ctrl-C."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A name that the terminal cannot show must not end the command.
            stream.reconfigure(errors="backslashreplace")
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            command_line(args, prog_name="cimsim")
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


@command_line.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    pass
