"""The user's own folders: the home and the cache, and what there is where a user has none."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from cimsim.errors import CimsimError


def home() -> Path | None:
    """The user's home folder; None for a user without ``$HOME`` and without an entry.

    A ``$HOME`` that is empty or no absolute path counts as none: it would be the root of all
    folders, or another folder in every folder.
    """
    if os.environ.get("HOME") == "":
        return None
    folder = os.path.expanduser("~")
    return Path(folder) if os.path.isabs(folder) else None


def user_cache() -> Path | None:
    """The user's folder for caches, ``$XDG_CACHE_HOME`` or ``~/.cache``; None without a home.

    A relative ``$XDG_CACHE_HOME`` is ignored, as its specification says.
    """
    named = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(named):
        return Path(named)
    own = home()
    return None if own is None else own / ".cache"


def expanded(path: str | Path) -> Path:
    """``path`` with a leading ``~`` or ``~user`` replaced by that home folder.

    Raises:
        CimsimError: if there is no such home, rather than using a folder called ``~``.
    """
    text = os.fspath(path)
    if not text.startswith("~"):
        return Path(text)
    whole = os.path.expanduser(text)
    if not os.path.isabs(whole):
        first = text.split(os.sep, 1)[0]
        whose = "this user has no home folder" if first == "~" else "there is no such user"
        raise CimsimError(f"{text}: cannot replace {first}, {whose}; give the whole path")
    return Path(whole)


def give_matplotlib_a_folder() -> None:
    """Set ``$MPLCONFIGDIR`` to a temporary folder for a user without a home.

    Without one, importing matplotlib before 3.11 ends in an error. The folder is removed when
    Python ends.
    """
    if "MPLCONFIGDIR" in os.environ or home() is not None:
        return
    try:
        folder = tempfile.mkdtemp(prefix="cimsim-matplotlib-")
    except OSError:
        return  # matplotlib says so in its own words
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["MPLCONFIGDIR"] = folder
