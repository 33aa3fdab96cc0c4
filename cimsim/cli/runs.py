"""The runs that a command is given."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cimsim.runs import RunSubject, open_run


def open_runs(
    folders: Sequence[Path],
    trust: bool = False,
    data_dir: Path | None = None,
    download: bool = False,
) -> list[RunSubject]:
    """Open every run of the list once, under whichever names it is repeated; see
    :func:`cimsim.runs.open_run`.

    Raises:
        CimsimError: if a folder is not a finished run.
    """
    different: dict[Path, Path] = {}
    for folder in folders:
        different.setdefault(folder.resolve(), folder)
    return [
        open_run(folder, trust=trust, data_dir=data_dir, download=download)
        for folder in different.values()
    ]
