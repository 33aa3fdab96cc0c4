"""Files that are either there whole or not at all, and that one process at a time may write."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from cimsim.errors import CimsimError

if sys.platform != "win32":
    import fcntl

PART = ".part"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write to the temporary path given, and it takes the place of ``path`` when the block ends.

    The file is on the disk before it gets its name, so a killed process or a power cut leaves the
    old file or the new one. A block that fails leaves ``path`` as it was.

    Raises:
        CimsimError: if the disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}{PART}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise CimsimError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_text(path: Path, text: str) -> None:
    """Put ``text`` into ``path`` (UTF-8) by :func:`replacing`.

    Bytes of file names that are no UTF-8 are written out, such as ``\\udce9``.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


@contextmanager
def readable_name(path: Path) -> Iterator[Path]:
    """A name of the existing file or folder ``path`` for libraries that read UTF-8 names only:
    its own, or within the block one by way of a link in a temporary folder."""
    try:
        str(path.absolute()).encode()
    except UnicodeEncodeError:
        with tempfile.TemporaryDirectory(prefix="cimsim-") as folder:
            link = Path(folder) / "folder"
            link.symlink_to(path.parent.absolute(), target_is_directory=True)
            yield link / path.name
    else:
        yield path


def lock(file: IO[bytes], refusal: str) -> None:
    """Keep other processes out; the system drops the lock when the file is closed, however.

    Raises:
        CimsimError: ``refusal``, if another process holds the lock.
    """
    if sys.platform == "win32":
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise CimsimError(refusal) from None
    except OSError as error:
        # Some network file systems know no locks; writing there is still better than not at all.
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS):
            raise
