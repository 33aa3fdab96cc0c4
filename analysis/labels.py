"""Names of runs and layers in tables and figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cimsim.errors import CimsimError
from cimsim.suggest import listed
from cimsim.terminal import one_line


def layer_name(name: str) -> str:
    """Name a layer; the model itself has no name.

    >>> layer_name("fc1"), layer_name("")
    ('fc1', '(the model)')
    """
    return name or "(the model)"


def require_names(given: Sequence[str], runs: Sequence[str]) -> None:
    """
    Raises:
        CimsimError: if there is not one of the ``given`` names for each of ``runs``, or two are
            equal.
    """
    if len(given) != len(runs) or len(set(given)) != len(given):
        count = "1 run" if len(runs) == 1 else f"{len(runs)} runs"
        raise CimsimError(
            f"labels: the figure shows {count} ({listed(runs)}), not {listed(given)}; use a "
            "different label for each, in this order"
        )


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
