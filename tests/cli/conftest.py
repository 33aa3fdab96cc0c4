from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from cimsim.analysis.sweeps import engine
from cimsim.cli import main
from tests.children import Start, started
from tests.forks import Fork, forked, forking

ROOT = Path(__file__).parents[2]


class Outcome(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


Command = Callable[..., Outcome]
Forks = Callable[..., AbstractContextManager[Fork]]


@pytest.fixture
def cimsim(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command ``cimsim`` within this process."""
    monkeypatch.setenv("COLUMNS", "120")

    def run(*args: object) -> Outcome:
        capsys.readouterr()
        try:
            code = main([str(arg) for arg in args])
        except SystemExit as end:
            code = int(end.code or 0)
        return Outcome(code, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def start() -> Start:
    """Starts the command ``cimsim`` as a process of its own, for the time of a ``with`` block."""

    @contextmanager
    def begin(*args: object, cwd: Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
        command = [sys.executable, "-m", "cimsim", *map(str, args)]
        env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment}
        with ExitStack() as stack:
            # A test run in the background has Ctrl-C ignored, and its children would inherit that.
            before = signal.signal(signal.SIGINT, signal.default_int_handler)
            try:
                child = started(command, cwd=cwd, env=env, stdout=subprocess.PIPE)
                (process,) = stack.enter_context(child)
            finally:
                signal.signal(signal.SIGINT, before)
            yield process

    return begin


@pytest.fixture(scope="session")
def fork() -> Forks:
    """As ``start``, in a process that has cimsim imported already."""

    @contextmanager
    def begin(*args: object, cwd: Path, **environment: str) -> Iterator[Fork]:
        words = [str(arg) for arg in args]
        with forked(_command, [(words, cwd)], [environment]) as (process,):
            yield process

    return begin


def _command(words: list[str], cwd: Path) -> None:
    os.chdir(cwd)
    sys.exit(main(words))


@pytest.fixture
def forked_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """ProcessEngine of a study are forked where cimsim is imported already."""
    monkeypatch.setattr(engine, "get_context", lambda _: forking())


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two runs that were never swept, ``digital`` and ``aware``; tests copy it."""
    folder = tmp_path_factory.mktemp("trained")
    for name, method in (("digital", "digital"), ("aware", "noise-aware")):
        options = ["--epochs", "2", "--method", method, "--profile", "pcm-ibm-2020"]
        with pytest.raises(SystemExit, match="0"):
            main(["train", *options, "--device", "cpu", "--out", str(folder / name)])
    return folder
