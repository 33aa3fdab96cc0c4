"""What is a crash: anything but success or one clear error, too long a wait, too much memory."""

from __future__ import annotations

import resource
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from cimsim.errors import CimsimError
from cimsim.terminal import printable

CPU_S = 15.0
WALL_S = 180.0  # other processes may take the processor; only a wait takes so long
MEMORY_KB = 400_000
LONGEST_LINE = 700
MOST_LINES = 110


class Unacceptable(Exception):
    """An answer that a user should never get."""


class _TooSlow(BaseException):
    """No answer in time; no `except Exception` on the way can take it for an error."""


@dataclass(frozen=True)
class Verdict:
    """What became of a case: accepted, refused or crashed, and in which words."""

    outcome: str
    detail: str

    @property
    def crashed(self) -> bool:
        return self.outcome == "crashed"


def judge(check: Callable[[], str], cpu_s: float = CPU_S) -> Verdict:
    """Run ``check``, which returns what it accepted or raises a `CimsimError`, for at most so many
    seconds of the processor."""
    began = time.process_time()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        with _limited(cpu_s):
            verdict = _answer(check)
    except _TooSlow:
        verdict = Verdict(
            "crashed", f"no answer in {WALL_S:g} s, or {2 * cpu_s:g} s of the processor"
        )
    seconds = time.process_time() - began
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    if not verdict.crashed and seconds > cpu_s:
        return Verdict("crashed", f"took {seconds:.1f} s ({verdict.detail[:200]})")
    if not verdict.crashed and grown > MEMORY_KB:
        return Verdict("crashed", f"took {grown // 1000} MB ({verdict.detail[:200]})")
    return verdict


def _answer(check: Callable[[], str]) -> Verdict:
    try:
        return Verdict("accepted", check())
    except CimsimError as error:
        try:
            refuse_unclear(str(error))
        except Unacceptable as unclear:
            return Verdict("crashed", str(unclear))
        return Verdict("refused", str(error))
    except Unacceptable as found:
        return Verdict("crashed", str(found))
    except Exception as error:
        return Verdict("crashed", _where(error))


def refuse_unclear(message: str) -> None:
    """Refuse a message that a terminal cannot show, or nobody would read.

    Raises:
        Unacceptable: if it is empty, too long, or holds characters that are no text.
    """
    lines = message.split("\n")
    if not message.strip():
        raise Unacceptable("an error without words")
    if len(lines) > MOST_LINES:
        raise Unacceptable(f"an error of {len(lines)} lines: {lines[0][:200]}")
    longest = max(lines, key=len)
    if len(longest) > LONGEST_LINE:
        raise Unacceptable(f"an error of {len(longest)} characters: {longest[:200]}")
    refuse_unprintable(message)


def refuse_unprintable(text: str) -> None:
    """Refuse text that moves the cursor, colors what follows or turns it around.

    Raises:
        Unacceptable: if it does.
    """
    if printable(text) != text:
        raise Unacceptable(f"characters that are no text: {text[:300]!a}")


def _where(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    inside = [frame for frame in frames if "site-packages" not in frame.filename]
    last = (inside or frames)[-1]
    place = f"{last.filename}:{last.lineno} in {last.name}"
    return f"{type(error).__name__}: {str(error)[:300]!a} at {place}"


@contextmanager
def _limited(cpu_s: float) -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise _TooSlow

    limits = (
        (signal.SIGALRM, signal.ITIMER_REAL, WALL_S),
        (signal.SIGPROF, signal.ITIMER_PROF, 2 * cpu_s),
    )
    before = [signal.signal(number, stop) for number, _, _ in limits]
    for _, timer, seconds in limits:
        signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        for (number, timer, _), handler in zip(limits, before, strict=True):
            signal.setitimer(timer, 0)
            signal.signal(number, handler)
