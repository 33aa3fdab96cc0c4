"""Processes that tests start: none outlives its test, each has time enough on a slow machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import lru_cache
from typing import Any

import pytest

Start = Callable[..., AbstractContextManager[subprocess.Popen[str]]]


@lru_cache(maxsize=1)
def patience() -> float:
    """Seconds that a child may take: 100 times what an empty one takes on this machine now."""
    begin = time.monotonic()
    subprocess.run([sys.executable, "-c", "import cimsim.training.fit"], check=True)
    return max(300.0, 100 * (time.monotonic() - begin))


@contextmanager
def started(*commands: list[str], **options: Any) -> Iterator[list[subprocess.Popen[str]]]:
    """A process for each command, with a pipe for what it writes to standard error. At the end of
    the block they are killed, and with each all processes that it has started.

    Args:
        commands: the commands.
        options: those of ``subprocess.Popen``, for all commands.
    """
    options = {"stderr": subprocess.PIPE, "text": True, **options}
    with ExitStack() as stack:
        processes = []
        for command in commands:
            process = subprocess.Popen(command, start_new_session=True, **options)
            processes.append(stack.enter_context(process))  # closes its pipes
            stack.callback(_kill, process)
        yield processes


def ended(process: subprocess.Popen[str]) -> tuple[str, str]:
    """What a process has written, once it has ended.

    Raises:
        subprocess.TimeoutExpired: after :func:`patience`.
    """
    out, err = process.communicate(timeout=patience())
    return out or "", err or ""


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Wait until ``condition`` holds, and fail the test after :func:`patience`."""
    deadline = time.monotonic() + patience()
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what} never happened")
        time.sleep(0.01)


def _kill(process: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
