"""``SHA256SUMS`` of a run: the hash of every file, so that damage is noticed when one is read.

Its lines are those of the command ``sha256sum``, which can check them too. While a run is under way
they are of its settings and devices; when it is finished, of all files. A run that was made before
there were hashes has no such file and is read without.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from cimsim.errors import CimsimError
from cimsim.training.files import encoded, read_file, sha256_of, write_text

SUMS = "SHA256SUMS"
_LINE = re.compile(r"([0-9a-f]{64})  ([^/\\\0]+)")


def write_sums(folder: Path, sums: Mapping[str, Iterable[str]]) -> None:
    """Keep the hashes (hex) that each file of ``folder`` may have.

    A file has two while it is being replaced: whenever the process is killed, one of them is right.
    """
    lines = (f"{sha256}  {name}\n" for name, hashes in sums.items() for sha256 in hashes)
    write_text(folder / SUMS, "".join(lines))


def read_sums(folder: Path) -> dict[str, list[str]]:
    """The hashes of the files in ``folder``, by name; empty in a run without hashes.

    Raises:
        CimsimError: if they cannot be read.
    """
    path = folder / SUMS
    if not path.exists():
        return {}
    sums: dict[str, list[str]] = {}
    for number, line in enumerate(read_file(path).decode(errors="replace").splitlines(), start=1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise CimsimError(
                f"{path}:{number} is damaged, it is no line of sha256sum; restore the file from a "
                "copy, or remove it to read the run without checks"
            )
        sums.setdefault(match[2], []).append(match[1])
    if not sums:
        raise CimsimError(f"{path} is empty; restore it from a copy, or remove it")
    return sums


def has_sums(folder: Path) -> bool:
    """Whether the run in ``folder`` has hashes."""
    return (folder / SUMS).exists()


def hash_of(content: bytes | str) -> str:
    """The SHA-256 (hex) of what a file holds."""
    return hashlib.sha256(encoded(content) if isinstance(content, str) else content).hexdigest()


def read_checked(path: Path) -> bytes:
    """The content of a small file of a run, checked against the hash in ``SHA256SUMS`` beside it.

    Raises:
        CimsimError: if it cannot be read, or is not the file that was written.
    """
    content = read_file(path)
    _check(path, hash_of(content))
    return content


def checked_sha256(path: Path) -> str:
    """The SHA-256 (hex) of a file of a run, checked as by :func:`read_checked`.

    Raises:
        CimsimError: if it cannot be read, or is not the file that was written.
    """
    digest = sha256_of(path)
    _check(path, digest)
    return digest


def _check(path: Path, sha256: str) -> None:
    sums = read_sums(path.parent)
    if sums and sha256 not in sums.get(path.name, ()):
        raise CimsimError(
            f"{path} is damaged or was changed: its SHA-256 is not the one in {SUMS}; restore it "
            f"from a copy, or remove {path.parent / SUMS} if you changed it yourself"
        )
