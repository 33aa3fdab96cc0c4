"""``SHA256SUMS`` of a run: hashes of all files, to detect damage on reading.

The format is that of the command ``sha256sum``, which can verify it. It covers settings and
profiles of an unfinished run, and all files of a finished one. Runs of versions without hashes have
no such file and are read without verification.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from cimsim.errors import CimsimError
from cimsim.files import encoded, read_file, sha256_of, write_text

SUMS = "SHA256SUMS"
_LINE = re.compile(r"([0-9a-f]{64})  ([^/\\\0]+)")


def write_sums(folder: Path, sums: Mapping[str, Iterable[str]]) -> None:
    """Write the hashes (hex) that each file of ``folder`` may have.

    A file has two hashes while it is replaced, so that one is correct if the process is killed.
    """
    lines = (f"{sha256}  {name}\n" for name, hashes in sums.items() for sha256 in hashes)
    write_text(folder / SUMS, "".join(lines))


def read_sums(folder: Path) -> dict[str, list[str]]:
    """Return the hashes of the files in ``folder`` by name; empty for a run without hashes.

    Raises:
        CimsimError: if the file cannot be read.
    """
    path = folder / SUMS
    if not path.exists():
        return {}
    sums: dict[str, list[str]] = {}
    for number, line in enumerate(read_file(path).decode(errors="replace").splitlines(), start=1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise CimsimError(
                f"{path}:{number} is damaged, it is not a line of sha256sum; restore the file from "
                "a copy, or remove it to read the run without verification"
            )
        sums.setdefault(match[2], []).append(match[1])
    if not sums:
        raise CimsimError(f"{path} is empty; restore it from a copy, or remove it")
    return sums


def has_sums(folder: Path) -> bool:
    """Return whether the run in ``folder`` has hashes."""
    return (folder / SUMS).exists()


def hash_of(content: bytes | str) -> str:
    """Return the SHA-256 (hex) of the content of a file."""
    return hashlib.sha256(encoded(content) if isinstance(content, str) else content).hexdigest()


def read_checked(path: Path) -> bytes:
    """Return the content of a small file of a run, verified against ``SHA256SUMS``.

    Raises:
        CimsimError: if it cannot be read, or its hash does not match.
    """
    content = read_file(path)
    _check(path, hash_of(content))
    return content


def checked_sha256(path: Path) -> str:
    """Return the SHA-256 (hex) of a file of a run, verified as in :func:`read_checked`.

    Raises:
        CimsimError: if it cannot be read, or its hash does not match.
    """
    digest = sha256_of(path)
    _check(path, digest)
    return digest


def _check(path: Path, sha256: str) -> None:
    sums = read_sums(path.parent)
    if sums and sha256 not in sums.get(path.name, ()):
        raise CimsimError(
            f"{path} is damaged or was changed: its SHA-256 does not match {SUMS}; restore it "
            f"from a copy, or remove {path.parent / SUMS} if you changed it yourself"
        )
