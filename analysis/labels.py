"""Names of runs and layers in tables and figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cimsim.terminal import one_line


def layer_name(name: str) -> str:
    """Name a layer; the model itself has no name.

    >>> layer_name("fc1"), layer_name("")
    ('fc1', '(the model)')
    """
    return name or "(the model)"


def distinct_names(runs: Sequence[Path]) -> list[str]:
    """Return the last parts of each path, as few as make it unique.

    >>> distinct_names([Path("runs/a/digital"), Path("runs/b/digital"), Path("runs/b/aware")])
    ['a/digital', 'b/digital', 'aware']
    """
    parts = [run.resolve().parts for run in runs]

    def name(own: tuple[str, ...]) -> str:
        for length in range(1, len(own)):
            if sum(other[-length:] == own[-length:] for other in parts) == 1:
                return one_line("/".join(own[-length:]))
        return one_line(str(Path(*own)))

    return [name(own) for own in parts]
