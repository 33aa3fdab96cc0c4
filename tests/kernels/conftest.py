"""The unit of the processor, compilers that fail, and a device whose reference differs."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from cimsim.kernels import convolutions, cpu
from cimsim.kernels.cpu import Unit


def clear_sizes() -> None:
    """Forget which convolutions a unit computes."""
    convolutions._images.cache_clear()
    convolutions._images_back.cache_clear()


@pytest.fixture
def unit() -> Iterator[Unit]:
    """The unit of this processor for numbers of 16 bits."""
    found = cpu.unit()
    if found is None:
        pytest.skip("this processor multiplies in float32 only")
    clear_sizes()
    yield found
    clear_sizes()


class Compiler:
    """A shell script in a compiler's place: each start appends its arguments to ``log``, and the
    processes that it names in ``pids`` are killed when the test ends."""

    def __init__(self, folder: Path, name: str = "c++") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path, self.log, self.pids = folder / name, folder / "log", folder / "pids"

    def does(self, script: str) -> str:
        """Write the script; ``$OUT`` is where the library goes, ``$LOG`` and ``$PIDS`` files."""
        head = (
            f"#!/bin/sh\nLOG={shlex.quote(str(self.log))}\nPIDS={shlex.quote(str(self.pids))}\n"
            'echo "$@" >> "$LOG"\nfor OUT in "$@"; do :; done\n'
        )
        self.path.write_text(head + script + "\n")
        self.path.chmod(0o755)
        return str(self.path)

    @property
    def starts(self) -> int:
        """How often it was started."""
        return len(self.log.read_text().splitlines()) if self.log.exists() else 0

    @property
    def children(self) -> list[int]:
        """The processes that it named."""
        return [int(pid) for pid in self.pids.read_text().split()] if self.pids.exists() else []

    def living(self, within_s: float = 10.0) -> list[int]:
        """Those that are there ``within_s`` seconds later."""
        end = time.monotonic() + within_s
        while (left := [pid for pid in self.children if _lives(pid)]) and time.monotonic() < end:
            time.sleep(0.05)
        return left

    def kill(self) -> None:
        """Leave no process behind."""
        for pid in self.children:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _lives(pid: int) -> bool:
    """Whether there is such a process, other than as a zombie that nobody waits for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def compiler(tmp_path: Path) -> Iterator[Compiler]:
    """A compiler to be written; see :class:`Compiler`."""
    made = Compiler(tmp_path / "programs")
    try:
        yield made
    finally:
        made.kill()


@pytest.fixture(scope="session")
def whole() -> str:
    """The script of a compiler that works at once: it copies a library that was built before."""
    folder, library = cpu.build().folder, cpu.build().library
    if folder is None or library is None:
        pytest.skip(cpu.build().note)
    return f'cp {shlex.quote(library._name)} "$OUT"'


@pytest.fixture
def builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], cpu.Build]]:
    """Builds as a new process does, with an empty cache and an empty temporary folder."""
    cpu.build()  # what other tests use stays
    for name, folder in (("XDG_CACHE_HOME", "cache"), ("TMPDIR", "temporary")):
        (tmp_path / folder).mkdir()
        monkeypatch.setenv(name, str(tmp_path / folder))
    monkeypatch.delenv("CXX", raising=False)
    caches = (cpu.build, cpu._functions, cpu._has_bf16, cpu.unit)

    def build() -> cpu.Build:
        for cached in caches:
            cached.cache_clear()
        return cpu.build()

    try:
        yield build
    finally:
        for cached in caches:
            cached.cache_clear()


BUILD = "from cimsim.kernels import cpu; built = cpu.build(); print(built.note)"
PYTHON = (sys.executable, "-c", BUILD)


def build_in_a_process() -> None:
    """As a new process does; the note goes to standard error. It is here, and not in a file of
    tests, because those build when they are imported."""
    print(cpu.build().note, file=sys.stderr)
