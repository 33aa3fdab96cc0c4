"""Folders as users name them, and the user's home and cache folders."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from cimsim.errors import CimsimError


def home() -> Path | None:
    """Return the user's home folder, or None without ``$HOME`` and without a password entry.

    An empty or relative ``$HOME`` is ignored: it would be the root folder, or depend on the working
    folder.
    """
    if os.environ.get("HOME") == "":
        return None
    folder = os.path.expanduser("~")
    return Path(folder) if os.path.isabs(folder) else None


def user_cache() -> Path | None:
    """Return the user's cache folder, ``$XDG_CACHE_HOME`` or ``~/.cache``; None without a home.

    A relative ``$XDG_CACHE_HOME`` is ignored, according to its specification.
    """
    named = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(named):
        return Path(named)
    own = home()
    return None if own is None else own / ".cache"


def expanded(path: str | Path) -> Path:
    """Return ``path`` with a leading ``~`` or ``~user`` replaced by that home folder.

    Raises:
        CimsimError: if there is no such home folder.
    """
    text = os.fspath(path)
    if not text.startswith("~"):
        return Path(text)
    whole = os.path.expanduser(text)
    if not os.path.isabs(whole):
        first = text.split(os.sep, 1)[0]
        whose = "this user has no home folder" if first == "~" else "there is no such user"
        raise CimsimError(f"{text}: cannot expand {first}, {whose}; use an absolute path")
    return Path(whole)


def named_folder(folder: str | Path) -> Path:
    """Return ``folder`` as a path.

    Raises:
        CimsimError: if it is empty, which ``Path`` would read as the current folder.
    """
    if folder == "":
        raise CimsimError("the name of a folder is empty; write '.' for the current folder")
    return Path(folder)


def give_matplotlib_a_folder() -> None:
    """Set ``$MPLCONFIGDIR`` to a temporary folder for a user without a home.

    Without a home, importing matplotlib before 3.11 fails. The folder is removed when Python exits.
    """
    if "MPLCONFIGDIR" in os.environ or home() is not None:
        return
    try:
        folder = tempfile.mkdtemp(prefix="cimsim-matplotlib-")
    except OSError:
        return  # matplotlib reports the problem
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["MPLCONFIGDIR"] = folder
