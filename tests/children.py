"""Processes that tests start: none outlives its test, each has time enough on a slow machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed, wait
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import lru_cache
from typing import Any

import pytest

from tests.forks import Fork

GRACE_S = 30.0
LEAST_S = 300.0  # which is enough nearly always, so that nothing need be measured before
Child = subprocess.Popen[str] | Fork
Start = Callable[..., AbstractContextManager[subprocess.Popen[str]]]


@lru_cache(maxsize=1)
def patience() -> float:
    """Seconds that a child may take: 100 times what an empty one takes on this machine now."""
    begin = time.monotonic()
    subprocess.run([sys.executable, "-c", "import cimsim.training.fit"], check=True)
    return max(LEAST_S, 100 * (time.monotonic() - begin))


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


def ended(process: Child) -> tuple[str, str]:
    """What a process has written, once it has ended.

    Raises:
        subprocess.TimeoutExpired: after :func:`patience`.
    """
    try:
        out, err = process.communicate(timeout=LEAST_S)
    except subprocess.TimeoutExpired:
        out, err = process.communicate(timeout=max(0.0, patience() - LEAST_S))
    return out or "", err or ""


def all_ended(processes: Sequence[Child]) -> list[str]:
    """What each of several processes that wait for each other has written to standard error. When
    one fails, the others are killed after a while: they may wait for it for half an hour."""
    with ThreadPoolExecutor(len(processes)) as threads:
        waits = [threads.submit(ended, process) for process in processes]
        try:
            for done in as_completed(waits):
                done.result()
                if any(process.poll() for process in processes):
                    wait(waits, timeout=GRACE_S)
                    break
        finally:
            for process in processes:
                _kill(process)
        return [each.result()[1] for each in waits]


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Wait until ``condition`` holds, and fail the test after :func:`patience`."""
    begin = time.monotonic()
    while not condition():
        took = time.monotonic() - begin
        if took > LEAST_S and took > patience():
            pytest.fail(f"{what} never happened")
        time.sleep(0.01)


def _kill(process: Child) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
