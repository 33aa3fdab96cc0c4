"""Commands that are imported when they are used."""

from __future__ import annotations

import re
from importlib import import_module
from itertools import pairwise
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from cimsim.cli.listing import LISTED
from cimsim.cli.only_with import refuse_without_effect
from cimsim.errors import CimsimError

_NO_VALUE = re.compile(r"--[\w-]+=")


class Checked(TyperCommand):
    """A command that refuses empty arguments and options without effect."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Parse the arguments; an empty one, which as a path is the current folder, is refused."""
        for before, word in pairwise(["", *args]):
            if not word or _NO_VALUE.fullmatch(word):
                what = word or (f"{before} ''" if before.startswith("--") else "''")
                raise CimsimError(
                    f"{what} is an empty argument, such as an unset shell variable; write a value, "
                    "or leave it out"
                )
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Check the options, and run the command."""
        refuse_without_effect(ctx)
        return super().invoke(ctx)


class Deferred(TyperCommand):
    """A command that is imported when it is used; before, it has a name and a summary only."""

    def __init__(self, name: str, module: str, summary: str) -> None:
        super().__init__(name, help=summary)
        self._where = module, name

    def make_context(
        self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
    ) -> Any:
        """Import the command, and parse its arguments."""
        return command_in(*self._where).make_context(info_name, args, parent, **extra)


class Commands(TyperGroup):
    """The command ``cimsim``, whose commands are :class:`Deferred`."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, (module, summary) in LISTED.items():
            self.add_command(Deferred(name, module, summary))

    def import_all(self) -> Commands:
        """Import every command; return the group."""
        for name, (module, _) in LISTED.items():
            self.add_command(command_in(module, name), name)
        return self


def command_in(module: str, name: str) -> Any:
    """Import a command from a module: that of its ``STUDY``, or the function or group ``name``."""
    imported = import_module(module)
    if hasattr(imported, "STUDY"):
        from cimsim.cli.studies import study_command

        found: Any = study_command(imported.STUDY)
    else:
        found = getattr(imported, name)
    if isinstance(found, typer.Typer):
        for registered in found.registered_commands:
            registered.cls = Checked
        return typer.main.get_command(found)
    alone = typer.Typer(add_completion=False)
    alone.command(name, cls=Checked)(found)
    return typer.main.get_command(alone)
