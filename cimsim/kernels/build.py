"""Build C++ with a compiler, once for each machine, and load it: kernels and wires.

A new library is loaded in a separate process before it is cached: a truncated library, or one with
instructions that this processor lacks, would end the process that loads it.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import math
import os
import platform
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import parent_process
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from cimsim.errors import CimsimWarning
from cimsim.kernels import cache

_log = logging.getLogger(__name__)
_HERE = Path(__file__).parent
FLAGS = (
    *("-std=gnu++17", "-O3", "-shared", "-fPIC", "-fvisibility=hidden"),
    *("-fno-math-errno", "-fno-trapping-math"),
    *("-Wno-psabi", "-Wno-unknown-pragmas", "-Wno-unknown-warning-option"),
)
# The first that works: for this processor with threads, for any with threads, without threads.
_NATIVE = ("-march=native", "-mprefer-vector-width=512")
_CHOICES = (
    (*_NATIVE, "-fopenmp"),
    ("-march=native", "-fopenmp"),
    ("-fopenmp",),
    ("-march=native",),
    (),
)
_COMPILERS = ("c++", "g++", "clang++")

LIMIT = "CIMSIM_BUILD_SECONDS"
_LIMIT_S = 120.0
_PATIENCE_S = 30.0
_TRIAL_S = 60.0
_UNUSABLE = 3
_AGAIN = "`cimsim doctor --rebuild` tries again"
_SLOWER = "{} is computed in plain torch, several times slower"
_OF = {  # names of the libraries, and what they compute
    "kernels": ("the CPU kernels", "everything"),
    "wires": ("the CPU kernels of wires", "the resistance of wires"),
}
_NO_COMPILER = (
    "no C++ compiler was found; with one, training is several times faster (install g++ or clang)"
)

# The process ends with this code if the library is at fault, and by a signal if it crashes.
_TRIAL = f"""
import ctypes, sys
try:
    library = ctypes.CDLL(sys.argv[1])
    works, *_ = [getattr(library, name) for name in sys.argv[2:]]
    worked = works()
except (OSError, AttributeError) as error:
    print(error, file=sys.stderr)
    sys.exit({_UNUSABLE})
sys.exit(0 if worked else {_UNUSABLE})
"""


class Build(NamedTuple):
    """The loaded library, or why there is none.

    Attributes:
        library: the library; None where everything is left to plain torch.
        note: how it was built, or why it was not.
        compiler: the command that builds it; empty if there is none.
        folder: where it is kept; None without a library.
        threaded: whether it can use more than one thread.
    """

    library: ctypes.CDLL | None
    note: str
    compiler: str = ""
    folder: Path | None = None
    threaded: bool = False


class _BuildError(Exception):
    """Why there is no library."""


class _LastingError(_BuildError):
    """Why there is no library, if the same build would fail again."""


def load(source: str, signatures: Mapping[str, Sequence[type]]) -> Build:
    """Compile ``source``.cpp if its library is not in the cache, and load it.

    The first process warns once if it cannot be built; without any compiler, there is no warning.

    Args:
        source: ``"kernels"`` or ``"wires"``; has the function ``cimsim_SOURCE_work``, too.
        signatures: the types of the arguments of each function ``cimsim_NAME``.
    """
    kernels, computed = _OF[source]
    slower = _SLOWER.format(computed)
    if sys.platform == "win32":
        return Build(None, f"they have not been tested on Windows, so {slower}")
    command: tuple[str, ...] = ()
    try:
        command = find_compiler()
        if not command:
            return Build(None, _NO_COMPILER)
        path = _library(command, source, signatures)
        library = ctypes.CDLL(str(path))
    except (_BuildError, OSError) as error:
        command_line = shlex.join(command)
        built = f"could not be built with {command_line}" if command_line else "could not be built"
        note = f"{built}, so {slower}: {error}"
        _notice(f"{kernels} {note}")
        return Build(None, note, command_line)
    for name, arguments in signatures.items():
        function = getattr(library, f"cimsim_{name}")
        function.argtypes, function.restype = arguments, None
    threaded, command_line = bool(library.cimsim_has_threads()), shlex.join(command)
    note = (
        f"built with {command_line}"
        if threaded
        else f"built with {command_line}, for one thread: no OpenMP"
    )
    return Build(library, note, command_line, path.parent, threaded)


def find_compiler() -> tuple[str, ...]:
    """The command that compiles C++: ``$CXX``, with or without arguments, or the first compiler on
    the path; empty if there is none.

    Raises:
        _BuildError: if ``$CXX`` names no program.
    """
    named = os.environ.get("CXX", "").strip()
    if not named:
        compiler = next(filter(None, map(shutil.which, _COMPILERS)), None)
        return (os.path.abspath(compiler),) if compiler else ()
    whole = shutil.which(named)
    if whole:  # also where there are spaces in its path
        return (os.path.abspath(whole),)
    try:
        words = shlex.split(named)
    except ValueError as error:
        raise _BuildError(f"CXX is {named!r}, which is not a command ({error})") from None
    program = shutil.which(words[0]) if words else None
    if program is None:
        raise _BuildError(f"CXX is {named!r}, which names no existing program")
    return (os.path.abspath(program), *words[1:])


def forget() -> None:
    """Remove cached builds and recorded failures, so that the next :func:`load` builds again."""
    for folder in cache.folders():
        if cache.problem_of(folder) is None:
            cache.forget(folder)


def _library(command: tuple[str, ...], source: str, signatures: Mapping[str, object]) -> Path:
    """The file of the library for this source, compiler and processor.

    Raises:
        _BuildError: if it could not be built, now or within the last day.
    """
    key, limit_s = _key(command, source), _limit_s()
    folders = tuple(dict.fromkeys(cache.folders()))
    cached = _cached(folders, key, limit_s)
    if cached is not None:
        return cached
    problems = []
    for folder in folders:
        problem = cache.problem_for_writing(folder)
        if problem is not None:
            problems.append(f"{folder}: {problem}")
            continue
        with cache.only_one(folder, key, limit_s + _TRIAL_S) as alone:
            cached = _cached(folders, key, limit_s)  # another process has built it meanwhile
            if cached is not None:
                return cached
            if not alone:
                raise _BuildError(f"another process is building them, for more than {limit_s:g} s")
            try:
                return _built(command, source, folder, key, signatures, limit_s)
            except (_LastingError, OSError) as error:
                cache.remember_failure(folder, key, str(error), limit_s)
                raise
    raise _BuildError(f"there is no folder to keep them in ({'; '.join(problems)})")


def _cached(folders: Sequence[Path], key: str, limit_s: float) -> Path | None:
    """The library that an earlier process built, or None.

    Raises:
        _BuildError: if an earlier process recorded that it cannot be built.
    """
    for folder in folders:
        path = cache.find(folder, key)
        if path is not None:
            return path
    for folder in folders:
        reason = cache.failure(folder, key, limit_s)
        if reason is not None:
            raise _BuildError(f"{reason}; this was tried within the last day, and {_AGAIN}")
    return None


def _built(
    command: tuple[str, ...],
    source: str,
    folder: Path,
    key: str,
    signatures: Mapping[str, object],
    limit_s: float,
) -> Path:
    """Compile with the first flags that work, test the library, and cache it in ``folder``.

    Raises:
        _BuildError: if that fails.
        OSError: if the folder cannot be written.
    """
    end = time.monotonic() + limit_s
    reason = "no reason given"
    names = [f"cimsim_{name}" for name in (f"{source}_work", *signatures)]
    for choice in _CHOICES:
        with cache.scratch(folder) as scratch:
            made = scratch / "kernels.so"
            compile_it = [*command, *FLAGS, *choice, str(_HERE / f"{source}.cpp"), "-o", str(made)]
            code, output = _run(compile_it, scratch, end - time.monotonic(), _PATIENCE_S)
            if code is None:
                text = f"the compiler was stopped after {limit_s:g} s"
                raise _LastingError(f"{text}; {LIMIT} in the environment allows more")
            if code < 0:  # other flags would not help, as with a full disk
                raise _LastingError(f"the compiler was ended by {_named(-code)}")
            if code > 0:
                reason = _first_error(output) or f"the compiler ended with code {code}"
                if cache.problem_for_writing(folder) is not None:
                    raise _BuildError(reason)
                continue
            if not made.is_file():
                reason = "the compiler ended well but wrote no library"
                continue
            problem = _problem_of(made, names, scratch)
            if problem is None:
                return cache.keep(folder, key, made)
            reason = f"the library that it made cannot be used ({problem})"
    raise _LastingError(reason)


def _problem_of(library: Path, names: Sequence[str], scratch: Path) -> str | None:
    """Why a separate process cannot use the library; None if it can, or if none can be started."""
    if not sys.executable or getattr(sys, "frozen", False):
        return None
    command = [sys.executable, "-I", "-S", "-c", _TRIAL, str(library), *names]
    try:
        code, output = _run(command, scratch, _TRIAL_S)
    except OSError:  # this user may not start it
        return None
    if code is None:
        return f"it does not end within {_TRIAL_S:g} s"
    if code < 0:
        return f"a process that loads it is ended by {_named(-code)}"
    return _first_error(output) if code == _UNUSABLE else None


def _run(
    command: Sequence[str], scratch: Path, seconds: float, patience_s: float = math.inf
) -> tuple[int | None, str]:
    """The exit code of a command, None if it was stopped after ``seconds``, and its output.

    It runs in its own process group, which is killed if it fails.

    Raises:
        OSError: if it cannot be started.
    """
    environment = {**os.environ, "LC_ALL": "C", "TMPDIR": str(scratch)}
    log = scratch / "output"
    begin = time.monotonic()
    process: subprocess.Popen[bytes] | None = None
    code: int | None = None
    try:
        with log.open("wb") as out, _uninterrupted():
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=environment,
                start_new_session=True,
            )
        with suppress(subprocess.TimeoutExpired):
            code = process.wait(min(patience_s, max(seconds, 0.0)))
        if code is None and seconds > patience_s:
            if _is_first_process():
                text = "cimsim: building the CPU kernels takes long; it stops after %.0f s"
                _log.warning(text, seconds)
            with suppress(subprocess.TimeoutExpired):
                code = process.wait(seconds - (time.monotonic() - begin))
    finally:
        if process is not None and code != 0:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    with log.open("rb") as written:
        written.seek(max(0, log.stat().st_size - 65536))
        return code, written.read().decode(errors="replace")


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Delay Ctrl-C to the end of the block, so that no process is lost while it starts."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    waiting: list[tuple[int, FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda number, frame: waiting.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if waiting:
            before(*waiting[0])


def _first_error(output: str) -> str:
    """The first line with an error: the last ones only count them."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return next((line for line in lines if "error" in line.lower()), lines[-1] if lines else "")


def _named(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _limit_s() -> float:
    """The time limit of compiling."""
    try:
        limit_s = float(os.environ.get(LIMIT, ""))
    except ValueError:
        return _LIMIT_S
    return limit_s if 0 < limit_s < math.inf else _LIMIT_S


def _key(command: tuple[str, ...], source: str) -> str:
    """A hash of everything that the library depends on."""
    files = (_HERE / f"{source}.cpp", *sorted(_HERE.glob("*.h")))
    parts = [file.read_bytes() for file in files]
    parts += [os.fsencode(word) for word in command]
    programs = [os.stat(program) for program in map(shutil.which, command) if program]
    versions = [(program.st_size, program.st_mtime_ns) for program in programs]
    machine = (sys.platform, platform.machine(), platform.libc_ver(), _processor())
    parts.append(repr((FLAGS, _CHOICES, versions, machine)).encode())
    name = hashlib.blake2b(digest_size=12)
    for part in parts:
        name.update(len(part).to_bytes(8, "little") + part)
    return name.hexdigest()


def _processor() -> str:
    """What ``-march=native`` depends on, for caches that several machines share."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


_RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK")


def _notice(text: str) -> None:
    if _is_first_process():
        warnings.warn(text, CimsimWarning, stacklevel=2)


def _is_first_process() -> bool:
    """Whether this is the first of several equal processes, which alone prints warnings."""
    return parent_process() is None and all(os.environ.get(rank, "0") == "0" for rank in _RANKS)
