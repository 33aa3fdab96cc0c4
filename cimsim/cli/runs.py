"""The runs a command is given."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cimsim.training.run import Run


def open_runs(folders: Sequence[Path], trust: bool = False) -> list[Run]:
    """Every run of the list once, however often and in whatever way it is named; see
    :meth:`Run.open` for ``trust``.

    Raises:
        CimsimError: if a folder is not a finished run.
    """
    different: dict[Path, Path] = {}
    for folder in folders:
        different.setdefault(folder.resolve(), folder)
    return [Run.open(folder, trust) for folder in different.values()]
