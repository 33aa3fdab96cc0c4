"""Lookup of profiles: those shipped with cimsim, and the user's files."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

from cimsim.errors import CimsimError
from cimsim.folders import expanded
from cimsim.suggest import unknown

_SUFFIXES = (".yaml", ".yml")


def profile_names() -> list[str]:
    """Return the sorted names of the profiles shipped with cimsim."""
    return sorted(path.stem for path in _folder().glob("*.yaml"))


def typed_profile(name: str) -> str:
    """Return the command-line argument for a profile: its name if shipped, else its file name.

    >>> typed_profile("ideal"), typed_profile("mine")
    ('ideal', 'mine.yaml')
    """
    return name if name in profile_names() else f"{name}.yaml"


def profile_path(name: str) -> Path:
    """Return the file of a profile shipped with cimsim.

    Raises:
        CimsimError: if there is no profile of that name.
    """
    if name not in profile_names():
        raise CimsimError(f"{unknown('profile', name, profile_names())} (a file ends in .yaml)")
    return _folder() / f"{name}.yaml"


def find_profile(name_or_path: str | Path, beside: Path | None = None) -> Path:
    """Return the file of a profile name or path; relative paths start at the folder ``beside``.

    Raises:
        CimsimError: if there is no profile of that name, if the path starts with the home folder
            of an unknown user, or if the type is wrong.
    """
    if not isinstance(name_or_path, str | Path):
        raise CimsimError(
            "a profile must be a name such as 'pcm-ibm-2020', a file that ends in .yaml, or a "
            f"Profile, not a {type(name_or_path).__name__}"
        )
    text = str(name_or_path)
    is_path = isinstance(name_or_path, Path) or text.endswith(_SUFFIXES)
    if is_path or any(mark in text for mark in (os.sep, "/")):
        return (beside or Path()) / expanded(text)
    return profile_path(text)


def _folder() -> Path:
    return Path(str(files("cimsim.device_profiles")))
