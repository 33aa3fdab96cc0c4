"""The cache of built libraries, which are loaded only if they are complete and the user's own.

A library is code, so it is loaded only from a folder that nobody but this user (or root) can write
to, and only if its content has the hash in its name. Beside the libraries lie notes of builds that
failed, and the locks of builds that are under way.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cimsim.folders import user_cache

if sys.platform != "win32":
    import fcntl
    import grp
    import pwd

_SCRATCH = "scratch-"
_STALE_SECONDS = 3600  # files of a killed build
_REMEMBERED_SECONDS = 86400  # a failure; its cause may disappear
_ROOM_BYTES = 8 << 20  # a library and the compiler's temporary files


def folders() -> Iterator[Path]:
    """Folders for libraries, the best one first: the user's cache, then temporary folders.

    None of them need exist.
    """
    cache = user_cache()
    if cache is not None and _is_ours_to_make(cache):
        yield cache / "cimsim" / "kernels"
    for place in (os.environ.get("TMPDIR", ""), "/tmp", "/var/tmp"):
        if os.path.isabs(place):
            yield Path(place) / f"cimsim-{os.geteuid()}"


def _is_ours_to_make(folder: Path) -> bool:
    """Whether files made here belong to the owner of the folder: root, for another user's home,
    would lock that user out."""
    if os.geteuid() != 0:
        return True
    for place in (folder, *folder.parents):
        with suppress(OSError):
            return place.stat().st_uid == 0
    return True


def problem_of(folder: Path) -> str | None:
    """Why libraries in ``folder`` must not be loaded; None if all is well."""
    try:
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode):
            return "is not a folder"
        for place in (folder, *folder.resolve().parents):
            problem = _problem_of_access(place.stat())
            if problem is not None:
                return problem if place == folder else f"{place} {problem}"
        if os.statvfs(folder).f_flag & os.ST_NOEXEC:
            return "is on a file system that runs no programs (noexec)"
    except OSError as error:
        return error.strerror or str(error)
    return None


def _problem_of_access(status: os.stat_result) -> str | None:
    """Who else could replace files in a folder, by its status."""
    if status.st_uid not in (0, os.geteuid()):
        return "belongs to another user"
    if status.st_mode & stat.S_ISVTX:  # as in /tmp: each user may replace only own files
        return None
    if status.st_mode & stat.S_IWOTH:
        return "can be written to by other users"
    if status.st_mode & stat.S_IWGRP and not _is_private_group(status.st_gid):
        return "can be written to by a group of users"
    return None


def _is_private_group(group: int) -> bool:
    """Whether it is the group of this user alone, as many systems give one to each."""
    try:
        entry, user = grp.getgrgid(group), pwd.getpwuid(os.geteuid())
    except KeyError:
        return False
    return entry.gr_name == user.pw_name and not set(entry.gr_mem) - {user.pw_name}


def problem_for_writing(folder: Path) -> str | None:
    """Make ``folder`` if it is missing; why nothing can be built there, None if all is well."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        problem = problem_of(folder)
        if problem is None:
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(bytes(_ROOM_BYTES))
                file.flush()
        return problem
    except OSError as error:
        return error.strerror or str(error)


def find(folder: Path, key: str) -> Path | None:
    """The whole library for ``key`` in ``folder``; damaged ones are removed."""
    if problem_of(folder) is not None:
        return None
    for path in sorted(folder.glob(f"kernels-{key}-*.so")):
        try:
            if path.name == _name(key, _content(path)):
                return path
        except OSError:
            continue
        with suppress(OSError):
            path.unlink()
    return None


def keep(folder: Path, key: str, made: Path) -> Path:
    """Move the library ``made`` to ``folder``, atomically and synchronized to disk.

    Raises:
        OSError: if that fails.
    """
    with made.open("rb+") as file:
        os.fchmod(file.fileno(), 0o700)
        os.fsync(file.fileno())
    path = folder / _name(key, _content(made))
    made.replace(path)
    return path


def _name(key: str, content: bytes) -> str:
    return f"kernels-{key}-{hashlib.blake2b(content, digest_size=16).hexdigest()}.so"


def _content(path: Path) -> bytes:
    """The content of a plain file of this user or root.

    Raises:
        OSError: if ``path`` is something else.
    """
    with open(path, "rb", opener=_without_links) as file:
        status = os.fstat(file.fileno())
        own = status.st_uid in (0, os.geteuid()) and not status.st_mode & 0o022
        if not stat.S_ISREG(status.st_mode) or not own:
            raise PermissionError(errno.EPERM, "is not a file of this user alone", str(path))
        return file.read()


def _without_links(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def remember_failure(folder: Path, key: str, reason: str, limit_s: float) -> None:
    """Record in ``folder`` that the library for ``key`` could not be built within ``limit_s``."""
    text = json.dumps({"reason": reason, "at": time.time(), "limit_s": limit_s})
    with suppress(OSError), tempfile.NamedTemporaryFile("w", dir=folder, delete=False) as file:
        try:
            file.write(text)
            file.close()
            os.replace(file.name, folder / f"kernels-{key}.failed")
        except BaseException:
            os.unlink(file.name)
            raise


def failure(folder: Path, key: str, limit_s: float) -> str | None:
    """Why the library for ``key`` could not be built during the last day with the same limit."""
    if problem_of(folder) is not None:
        return None
    try:
        record = json.loads(_content(folder / f"kernels-{key}.failed"))
        age_s = time.time() - float(record["at"])
        recent = 0 <= age_s < _REMEMBERED_SECONDS and float(record["limit_s"]) == limit_s
        return str(record["reason"]) if recent else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def forget(folder: Path) -> None:
    """Remove all libraries and notes of failures from ``folder``."""
    for path in folder.glob("kernels-*"):
        if path.suffix in (".so", ".failed"):
            with suppress(OSError):
                path.unlink()


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """A folder of this process in ``folder``, removed when the block ends; so are those that
    killed processes left.

    Raises:
        OSError: if it cannot be made.
    """
    for left in folder.glob(f"{_SCRATCH}*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(left, ignore_errors=True)
    own = Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=folder))
    try:
        yield own
    finally:
        shutil.rmtree(own, ignore_errors=True)


@contextmanager
def only_one(folder: Path, key: str, seconds: float) -> Iterator[bool]:
    """Within the block no other process builds the library for ``key`` in ``folder``.

    Yields:
        False if another process kept its lock for all of ``seconds``; True otherwise, also on file
        systems without locks, where each builds for itself.
    """
    end = time.monotonic() + seconds
    with (folder / f"kernels-{key}.lock").open("ab") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() < end:
                    time.sleep(0.05)
                    continue
                yield False
                return
            except OSError:  # no locks here
                pass
            yield True
            return
