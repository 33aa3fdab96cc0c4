"""Layout of the files of a data set below a data folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cimsim.errors import CimsimError
from cimsim.folders import expanded, home


@dataclass(frozen=True)
class Layout:
    """Files of one data set and the folders to search for them.

    Attributes:
        name: name of the data set.
        folders: folders to search, relative to the data folder; downloads go to the first.
        stems: file names without suffix; each is required once.
        suffixes: possible suffixes of a file, in order of preference.
        fetch: function that downloads the files of the given stems to a folder.
    """

    name: str
    folders: tuple[str, ...]
    stems: tuple[str, ...]
    suffixes: tuple[str, ...]
    fetch: Callable[[Sequence[str], Path], None]

    def locate(self, data_dir: Path, download: bool) -> list[Path]:
        """Return one file per stem, in order, all from the first folder that contains any of them.

        Raises:
            CimsimError: if files are missing and ``download`` is False, or the download failed.
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
        """Return the existing file of each stem, with the most preferred suffix."""
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
    "set its folder with --data-dir or $CIMSIM_DATA, "
    "or download it with --download (in Python: load_data(..., download=True))"
)


def _names_in(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return set()
    except OSError as error:
        raise CimsimError(f"cannot list the folder {folder}: {error.strerror}") from error


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CimsimError(f"cannot create the folder {folder}: {error.strerror}") from error


def read_bytes(path: Path) -> bytes:
    """Return the content of a data file.

    Raises:
        CimsimError: if the file cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise CimsimError(f"cannot read {path}: {error.strerror}") from error


def data_folder(named: Path | str | None = None) -> Path:
    """Return ``named`` if given, else ``$CIMSIM_DATA``, else ``~/.cache/cimsim``.

    Raises:
        CimsimError: if the user has no home folder.
    """
    place = named or os.environ.get("CIMSIM_DATA")
    if place:
        return expanded(place)
    own = home()
    if own is None:
        raise CimsimError(
            "this user has no home folder for the data sets; "
            "set a folder with --data-dir or $CIMSIM_DATA"
        )
    return own / ".cache" / "cimsim"
