"""Files that are either there whole or not at all, and that one process at a time may write.

All that is written into a run's folder goes through this module. Somebody else may have made the
folder, so a temporary file gets a name that nobody can foresee, and a file is never written through
a symbolic link.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from cimsim.errors import CimsimError
from cimsim.reading import open_regular, read_bytes

if sys.platform != "win32":
    import fcntl

PART = ".part"
_ROOT = "config.yaml"  # the file that makes a folder a run
_BLOCK = 1 << 20
_LARGEST_TEXT = 1 << 26
_STALE_S = 3600.0
_NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)  # to open a named pipe would wait for its other end


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write to the temporary path given, and it takes the place of ``path`` when the block ends.

    The file is on the disk before it gets its name, so a killed process or a power cut leaves the
    old file or the new one. A block that fails leaves ``path`` as it was. Where ``path`` is a
    symbolic link, the link is replaced, and what it points to is left alone.

    Raises:
        CimsimError: if the disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}{PART}")
    try:
        _remove_stale(path)
        made = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK, 0o666)
        mode = stat.S_IMODE(os.fstat(made).st_mode)
        os.close(made)
        yield temporary
        written = os.open(temporary, os.O_RDWR | _NO_LINK)
        try:
            if sys.platform != "win32":
                os.fchmod(written, mode)  # some writers replace the file by a private one
            os.fsync(written)
        finally:
            os.close(written)
        temporary.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def cannot_write(path: Path, error: OSError) -> CimsimError:
    """The sentence for a file that could not be written, such as on a full disk."""
    if error.errno == errno.ELOOP:
        return CimsimError(f"{path} is a symbolic link, which is not written through; remove it")
    return CimsimError(f"cannot write {path}: {error.strerror or error}")


def write_text(path: Path, text: str) -> None:
    """Put ``text`` into ``path`` (UTF-8) by :func:`replacing`.

    Bytes of file names that are no UTF-8 are written out, such as ``\\udce9``.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(encoded(text))


def encoded(text: str) -> bytes:
    """The bytes that :func:`write_text` writes, which are the same on every system."""
    return text.encode(errors="backslashreplace")


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


def make_folder(path: Path) -> None:
    """Make the folder ``path`` and those above it; inside of a run no symbolic link is followed.

    Raises:
        CimsimError: if it cannot be made, or a folder between the run and ``path`` is a link.
    """
    below: list[Path] = []
    for folder in (path, *path.parents):
        if (folder / _ROOT).is_file():
            if link := next((inner for inner in below if inner.is_symlink()), None):
                raise CimsimError(
                    f"{link} is a symbolic link, which a run's results are not written through; "
                    "replace it by a folder"
                )
            break
        below.append(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CimsimError(f"cannot make the folder {path}: {error.strerror or error}") from None


def open_log(path: Path) -> IO[bytes]:
    """Open ``path`` to read it and to append to it, and make it if it is missing.

    Raises:
        CimsimError: if it cannot be written, or is a symbolic link or no regular file.
    """
    try:
        made = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | _NO_LINK | _NO_WAIT, 0o666)
        if not stat.S_ISREG(os.fstat(made).st_mode):
            os.close(made)
            raise CimsimError(f"cannot write {path}: it is no regular file; remove it")
        return os.fdopen(made, "a+b")
    except OSError as error:
        raise cannot_write(path, error) from error


def append_line(path: Path, line: str) -> None:
    """Append ``line`` to ``path``; it is on the disk when this returns.

    Raises:
        CimsimError: if the disk is full or the file cannot be written.
    """
    try:
        with open_log(path) as file:
            file.write(f"{line}\n".encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise cannot_write(path, error) from error


def read_file(path: Path, largest: int = _LARGEST_TEXT) -> bytes:
    """The content of a small file that somebody else may have made.

    Raises:
        CimsimError: if it cannot be read, is no regular file, or holds more than ``largest`` bytes.
    """
    try:
        return read_bytes(path, largest)
    except OSError as error:
        raise _cannot_read(path, error) from None


def sha256_of(path: Path) -> str:
    """The SHA-256 (hex) of a file of any size.

    Raises:
        CimsimError: if it cannot be read or is no regular file.
    """
    digest = hashlib.sha256()
    try:
        with open_regular(path) as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError as error:
        raise _cannot_read(path, error) from None
    return digest.hexdigest()


def _cannot_read(path: Path, error: OSError) -> CimsimError:
    return CimsimError(f"{path} cannot be read: {error.strerror or error}")


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of a killed process from a folder that this process has locked."""
    for path in folder.glob(f".*{PART}"):
        with suppress(OSError):
            path.unlink()


def _remove_stale(path: Path) -> None:
    """Remove temporary files of ``path`` that nobody can be writing any more."""
    for left in path.parent.glob(f".*{PART}"):
        if left.name.startswith(f".{path.name}."):
            with suppress(OSError):
                if left.lstat().st_mtime < time.time() - _STALE_S:
                    left.unlink()


@contextmanager
def locked(path: Path, refusal: str) -> Iterator[None]:
    """Within the block no other process enters a block with the same ``path``.

    The file is made where it is missing, and it stays: a lock holds for the file, so that it must
    never be replaced or removed. The system drops the lock when the process ends, however.

    Raises:
        CimsimError: ``refusal``, if another process holds the lock.
    """
    with open_log(path) as file:
        lock(file, refusal)
        yield


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
