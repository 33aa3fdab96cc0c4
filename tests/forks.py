"""Processes of a test that only need cimsim imported: they are forked where that has happened.

To import torch and cimsim takes several seconds of a processor; `tests.children.started` pays them
for every process, these are paid once for all tests of a session.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

_PRELOADED = (
    *("cimsim.training.fit", "cimsim.training.sharding", "cimsim.analysis.sweeps.sweep"),
    *("sklearn.datasets", "tests.forks"),
)


class Fork:
    """A call in a process of its own, to be used as one uses a ``subprocess.Popen``."""

    def __init__(self, process: BaseProcess, error: Path) -> None:
        self._process, self._error = process, error
        self.pid = process.pid or 0
        # Two threads that read the exit code of one process at once take it from each other, and
        # multiprocessing reports 255 to the one that finds nothing.
        self._reading = threading.Lock()

    @property
    def returncode(self) -> int | None:
        """The exit code, a negative signal, or none while it runs."""
        with self._reading:
            return self._process.exitcode

    def poll(self) -> int | None:
        """See :attr:`returncode`."""
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it alone."""
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float) -> None:
        """Wait for its end.

        Raises:
            subprocess.TimeoutExpired: it has not ended after ``timeout`` seconds.
        """
        connection.wait([self._process.sentinel], timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(str(self._process.name), timeout)

    def communicate(self, timeout: float) -> tuple[str, str]:
        """Wait for its end; returns nothing, and what it has written to standard error."""
        self.wait(timeout)
        return "", self._error.read_text(encoding="utf-8", errors="replace")

    def end(self) -> None:
        """Kill it, and whatever it has started."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self.kill()  # one that has no group yet
        connection.wait([self._process.sentinel])
        assert self.returncode is not None


def forking() -> Any:
    """The context of `multiprocessing` in which cimsim is imported already."""
    context: Any = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_PRELOADED))
    return context


@contextmanager
def forked(
    call: Callable[..., object],
    each: Sequence[tuple[object, ...]],
    envs: Sequence[Mapping[str, str]] | None = None,
) -> Iterator[list[Fork]]:
    """A process for each tuple of arguments. At the end of the block they are killed, and with each
    all processes that it has started.

    Args:
        call: a function of a module.
        each: its arguments in each process.
        envs: for each process, what is added to the environment.
    """
    context = forking()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cimsim-forks-")))
        found = []
        for number, arguments in enumerate(each):
            error = folder / str(number)
            error.touch()
            env = {**os.environ, **(envs[number] if envs else {})}
            process = context.Process(target=_begin, args=(call, arguments, env, str(error)))
            process.start()
            found.append(Fork(process, error))
            stack.callback(found[-1].end)
        yield found


def _begin(
    call: Callable[..., object], arguments: tuple[object, ...], env: dict[str, str], error: str
) -> None:
    """What a new process does first."""
    import torch

    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a test may run in the background
    os.environ.clear()
    os.environ.update(env)
    with open(error, "ab") as file:
        os.dup2(file.fileno(), 2)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    torch.set_num_threads(1)
    call(*arguments)
