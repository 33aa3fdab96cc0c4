"""Where the files of a data set lie below a data folder, and what they hold."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cimsim.errors import CimsimError
from cimsim.folders import expanded, home


@dataclass(frozen=True)
class Layout:
    """The files of one data set, and the places where people keep them.

    Attributes:
        name: the data set, as the user calls it.
        folders: places to look, relative to the data folder; a download goes to the first.
        stems: the file names without the suffix, each needed once.
        suffixes: the endings a file may have, the preferred one first.
        fetch: downloads the files of the given stems into a folder.
    """

    name: str
    folders: tuple[str, ...]
    stems: tuple[str, ...]
    suffixes: tuple[str, ...]
    fetch: Callable[[Sequence[str], Path], None]

    def locate(self, data_dir: Path, download: bool) -> list[Path]:
        """One file per stem, in their order, all from the first folder that holds any of them.

        Raises:
            CimsimError: files are missing and ``download`` is false, or the download failed.
        """
        places = [data_dir / folder for folder in self.folders]
        folder = next((place for place in places if self._present(place)), None)
        if download:
            folder = folder or places[0]
            if missing := self._missing(folder):
                _make(folder)
                self.fetch(missing, folder)
        if folder is None:
            looked = " or ".join(str(place) for place in places)
            raise CimsimError(f"no {self.name} data in {looked}; {_ADVICE}")
        if missing := self._missing(folder):
            raise CimsimError(f"{folder} lacks {', '.join(missing)} of {self.name}; {_ADVICE}")
        present = self._present(folder)
        return [present[stem] for stem in self.stems]

    def _present(self, folder: Path) -> dict[str, Path]:
        """The file of each stem that has one, of the first suffix that has one."""
        names = _names_in(folder)
        return {
            stem: folder / (stem + suffix)
            for stem in self.stems
            for suffix in reversed(self.suffixes)
            if stem + suffix in names
        }

    def _missing(self, folder: Path) -> list[str]:
        present = self._present(folder)
        return [stem for stem in self.stems if stem not in present]


_ADVICE = (
    "name the folder that holds it with --data-dir or $CIMSIM_DATA, "
    "or download it with --download (in Python: load_data(..., download=True))"
)


def _names_in(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return set()
    except OSError as error:
        raise CimsimError(f"cannot look into {folder}: {error.strerror}") from error


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CimsimError(f"cannot make the folder {folder}: {error.strerror}") from error


def read_bytes(path: Path) -> bytes:
    """The content of a data file.

    Raises:
        CimsimError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise CimsimError(f"cannot read {path}: {error.strerror}") from error


def data_folder(named: Path | str | None = None) -> Path:
    """The folder ``named`` if there is one, else ``$CIMSIM_DATA``, else ``~/.cache/cimsim``.

    Raises:
        CimsimError: if there is no such home folder.
    """
    place = named or os.environ.get("CIMSIM_DATA")
    if place:
        return expanded(place)
    own = home()
    if own is None:
        raise CimsimError(
            "this user has no home folder that could hold the data sets; "
            "name a folder with --data-dir or $CIMSIM_DATA"
        )
    return own / ".cache" / "cimsim"
