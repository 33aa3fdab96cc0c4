"""The folders of the trained networks that are shipped: weights, profile, card and hashes of each.

:mod:`cimsim.models` loads them; a training can start from their weights.
"""

from __future__ import annotations

from pathlib import Path

import cimsim
from cimsim.errors import CimsimError
from cimsim.suggest import unknown

FOLDER = Path(cimsim.__file__).parent / "models"
CARD = "card.json"


def names() -> tuple[str, ...]:
    """Return the names of all trained networks, sorted.

    >>> "digits-mlp" in names()
    True
    """
    return tuple(sorted(path.parent.name for path in FOLDER.glob(f"*/{CARD}")))


def folder_of(name: str) -> Path:
    """Return the folder of the network ``name``.

    Raises:
        CimsimError: if there is no network of that name.
    """
    if name not in names():
        raise CimsimError(unknown("trained network", name, names()))
    return FOLDER / name
