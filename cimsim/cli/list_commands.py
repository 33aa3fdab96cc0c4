"""Write the list of commands for ``cimsim --help``: ``python -m cimsim.cli.list_commands``.

The summary of a command is the first paragraph of its help. It is in a file of its own so that the
list of commands is printed without importing them.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path

from cimsim.analysis.studies import STUDIES
from cimsim.cli.deferred import command_in
from cimsim.files import write_text

LISTING = Path(__file__).with_name("listing.py")
_FIRST = ("train", "sweep", "plot")
_LAST = (
    "cost",
    "compare",
    "report",
    "app",
    "generate",
    "methods",
    "models",
    "doctor",
    "profiles",
)
_TOP = '''"""The commands with their modules and summaries.

Written by ``python -m cimsim.cli.list_commands``.
"""

LISTED = {
'''
_WIDTH = 89  # of a summary in a line


def listing_text() -> str:
    """The text of ``listing.py``."""
    return _TOP + "".join(_entry(name, module) for name, module in _modules()) + "}\n"


def _modules() -> Iterator[tuple[str, str]]:
    """Yield the names of the commands and their modules, in the order of the list."""
    studies = [study for study in STUDIES if study.run is not None]
    yield from ((name, f"cimsim.cli.{name}") for name in _FIRST)
    yield from ((study.command, study.result.__module__) for study in studies)
    yield from ((name, f"cimsim.cli.{name}") for name in _LAST)


def _entry(name: str, module: str) -> str:
    summary = " ".join(command_in(module, name).help.partition("\n\n")[0].split())
    pieces = textwrap.wrap(summary, _WIDTH, drop_whitespace=False)
    text = "\n".join(f"        {json.dumps(piece, ensure_ascii=False)}" for piece in pieces)
    return f'    "{name}": (\n        "{module}",\n{text},\n    ),\n'


if __name__ == "__main__":
    write_text(LISTING, listing_text())
