"""The runs a command is given."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cimsim.training.run import Run


def open_runs(folders: Sequence[Path]) -> list[Run]:
    """Every run of the list once, however often and in whatever way it is named.

    Raises:
        CimsimError: if a folder is not a finished run.
    """
    different: dict[Path, Path] = {}
    for folder in folders:
        different.setdefault(folder.resolve(), folder)
    return [Run.open(folder) for folder in different.values()]
