"""Atomic files and file locks.

All files in a run's folder are written through this module. The folder may have been created by
another user, so temporary files get unpredictable names, and no file is written through a symbolic
link.
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
_ROOT = "config.yaml"  # its presence makes a folder a run
_BLOCK = 1 << 20
_LARGEST_TEXT = 1 << 26
_STALE_S = 3600.0
_NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)  # opening a named pipe would block otherwise


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path, which replaces ``path`` when the block ends.

    The file is synced to disk before it is renamed, so a killed process or a power failure leaves
    either the old or the new file. If the block fails, ``path`` is unchanged. If ``path`` is a
    symbolic link, the link is replaced, and its target is unchanged.

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
                os.fchmod(written, mode)  # some writers restrict the permissions
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
    """Return the error for a file that could not be written, such as on a full disk."""
    if error.errno == errno.ELOOP:
        return CimsimError(f"cannot write {path}: it is a symbolic link; remove it")
    return CimsimError(f"cannot write {path}: {error.strerror or error}")


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` (UTF-8) with :func:`replacing`.

    Bytes of file names that are not UTF-8 are escaped, such as ``\\udce9``.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(encoded(text))


def encoded(text: str) -> bytes:
    """Return the bytes that :func:`write_text` writes, equal on every system."""
    return text.encode(errors="backslashreplace")


@contextmanager
def readable_name(path: Path) -> Iterator[Path]:
    """Yield a UTF-8 name of the existing file or folder ``path``, for libraries that require one.

    This is ``path``, or a path through a link in a temporary folder, valid within the block.
    """
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
    """Create the folder ``path`` and its parents; symbolic links inside a run are not followed.

    Raises:
        CimsimError: if it cannot be created, or a folder between the run and ``path`` is a link.
    """
    below: list[Path] = []
    for folder in (path, *path.parents):
        if (folder / _ROOT).is_file():
            if link := next((inner for inner in below if inner.is_symlink()), None):
                raise CimsimError(
                    f"cannot write the results of a run to {link}: it is a symbolic link; "
                    "replace it with a folder"
                )
            break
        below.append(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CimsimError(f"cannot create the folder {path}: {error.strerror or error}") from None


def open_log(path: Path) -> IO[bytes]:
    """Open ``path`` for reading and appending; create it if it is missing.

    Raises:
        CimsimError: if it cannot be written, or is a symbolic link or not a regular file.
    """
    try:
        made = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | _NO_LINK | _NO_WAIT, 0o666)
        if not stat.S_ISREG(os.fstat(made).st_mode):
            os.close(made)
            raise CimsimError(f"cannot write {path}: it is not a regular file; remove it")
        return os.fdopen(made, "a+b")
    except OSError as error:
        raise cannot_write(path, error) from error


def append_line(path: Path, line: str) -> None:
    """Append ``line`` to ``path`` and sync it to disk.

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
    """Return the content of a small file, which may be from an untrusted source.

    Raises:
        CimsimError: if it cannot be read, is not a regular file, or is larger than ``largest``
            bytes.
    """
    try:
        return read_bytes(path, largest)
    except OSError as error:
        raise _cannot_read(path, error) from None


def sha256_of(path: Path) -> str:
    """Return the SHA-256 (hex) of a file of any size.

    Raises:
        CimsimError: if it cannot be read or is not a regular file.
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
    """Remove temporary files of killed processes from a folder that this process has locked."""
    for path in folder.glob(f".*{PART}"):
        with suppress(OSError):
            path.unlink()


def _remove_stale(path: Path) -> None:
    """Remove temporary files of ``path`` that are too old to be in use."""
    for left in path.parent.glob(f".*{PART}"):
        if left.name.startswith(f".{path.name}."):
            with suppress(OSError):
                if left.lstat().st_mtime < time.time() - _STALE_S:
                    left.unlink()


@contextmanager
def locked(path: Path, refusal: str) -> Iterator[None]:
    """Hold an exclusive lock on ``path`` within the block.

    The file is created if it is missing and is kept afterwards: the lock belongs to the file, so it
    must not be replaced or removed. The system releases the lock when the process ends for any
    reason.

    Raises:
        CimsimError: ``refusal``, if another process holds the lock.
    """
    with open_log(path) as file:
        lock(file, refusal)
        yield


def lock(file: IO[bytes], refusal: str) -> None:
    """Lock an open file; the system releases the lock when the file is closed for any reason.

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
        # Some network file systems do not support locks; continue without one.
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS):
            raise
