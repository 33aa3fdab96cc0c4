"""Where profiles are: those that come with cimsim, and files of one's own."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

from cimsim.errors import CimsimError
from cimsim.folders import expanded
from cimsim.suggest import unknown

_SUFFIXES = (".yaml", ".yml")


def profile_names() -> list[str]:
    """Names of the profiles that come with cimsim, sorted."""
    return sorted(path.stem for path in _folder().glob("*.yaml"))


def typed_profile(name: str) -> str:
    """How the profile of that name is typed: a profile of one's own is a file of its name.

    >>> typed_profile("ideal"), typed_profile("mine")
    ('ideal', 'mine.yaml')
    """
    return name if name in profile_names() else f"{name}.yaml"


def profile_path(name: str) -> Path:
    """The file of a profile that comes with cimsim.

    Raises:
        CimsimError: if there is none of that name.
    """
    if name not in profile_names():
        raise CimsimError(f"{unknown('profile', name, profile_names())} (a file ends in .yaml)")
    return _folder() / f"{name}.yaml"


def find_profile(name_or_path: str | Path, beside: Path | None = None) -> Path:
    """The file that a name or a path means; a relative path starts at the folder ``beside``.

    Raises:
        CimsimError: if it is a name and there is no profile of that name, begins with the home
            folder of a user that is not there, or is neither.
    """
    if not isinstance(name_or_path, str | Path):
        raise CimsimError(
            "a profile is a name such as 'pcm-ibm-2020', a file that ends in .yaml, or a Profile, "
            f"not a {type(name_or_path).__name__}"
        )
    text = str(name_or_path)
    is_path = isinstance(name_or_path, Path) or text.endswith(_SUFFIXES)
    if is_path or any(mark in text for mark in (os.sep, "/")):
        return (beside or Path()) / expanded(text)
    return profile_path(text)


def _folder() -> Path:
    return Path(str(files("cimsim.device_profiles")))
