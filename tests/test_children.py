"""No child outlives its test, and none is waited for in vain."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.children import all_ended, ended, started
from tests.forks import forked

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
SLEEP = [sys.executable, "-c", "import time; time.sleep(1000)"]
PARENT = f"import subprocess; child = subprocess.Popen({SLEEP!r}); print(child.pid, flush=True); "


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def gone(pid: int) -> bool:
    deadline = time.monotonic() + 60
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not alive(pid)


def test_a_failing_test_leaves_no_child_and_no_grandchild() -> None:
    command = [sys.executable, "-c", PARENT + "child.wait()"]
    pids: list[int] = []

    def failing() -> None:
        with started(command, stdout=subprocess.PIPE) as (process,):
            assert process.stdout is not None
            pids.extend((process.pid, int(process.stdout.readline())))
            raise RuntimeError("the test fails")

    with pytest.raises(RuntimeError, match="the test fails"):
        failing()
    assert all(map(gone, pids))


def test_a_grandchild_of_a_child_that_has_ended_is_ended() -> None:
    with started([sys.executable, "-c", PARENT], stdout=subprocess.PIPE) as (process,):
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        process.wait(timeout=60)
        assert alive(pid)
    assert gone(pid)


def test_who_waits_for_a_child_that_failed_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.children.GRACE_S", 0.1)
    failing = [sys.executable, "-c", "raise SystemExit('no')"]
    with started(SLEEP, failing) as pair:
        assert all_ended(pair) == ["", "no\n"]
    assert [process.returncode for process in pair] == [-9, 1]


def test_what_a_child_writes() -> None:
    code = "import sys; print('out'); print('error', file=sys.stderr)"
    with started([sys.executable, "-c", code], stdout=subprocess.PIPE) as (process,):
        assert ended(process) == ("out\n", "error\n")


def test_each_thread_reads_the_same_exit_code() -> None:
    calls = [(0.2,)] * 4
    with forked(time.sleep, calls) as processes, ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda process: process.wait(60), processes * 4))
        assert [process.returncode for process in processes] == [0] * len(calls)
