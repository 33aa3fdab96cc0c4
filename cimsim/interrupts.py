"""Ctrl-C that always ends a command.

Python raises :class:`KeyboardInterrupt` wherever the main thread is. If that is in a callback from
C or in a finalizer, the exception is lost or the process aborts; if it is within a context manager
of torch, torch fails with another exception. So the request is remembered, training steps postpone
it, and loops check for it.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

_requested = False
_postponed = False
_announce: Callable[[], None] | None = None


@contextmanager
def interruptible(announce: Callable[[], None] | None = None) -> Iterator[None]:
    """Within the context, remember Ctrl-C, and raise it instead of errors that follow from it.

    Has no effect if the process handles SIGINT in another way, as workers and threads do.

    Args:
        announce: called when Ctrl-C is postponed, to print that the program stops soon.
    """
    global _requested, _announce
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:
        yield
        return
    try:
        signal.signal(signal.SIGINT, _remember)
    except ValueError:  # not in the main thread
        yield
        return
    _requested, _announce = False, announce
    report_lost, sys.unraisablehook = sys.unraisablehook, _report_lost(sys.unraisablehook)
    try:
        yield
    except Exception as error:
        if _requested:
            raise KeyboardInterrupt from error
        raise
    finally:
        signal.signal(signal.SIGINT, before)
        sys.unraisablehook = report_lost
        _requested, _announce = False, None


def raise_if_interrupted() -> None:
    """Raise :class:`KeyboardInterrupt` if Ctrl-C was pressed and its exception was postponed or
    lost."""
    if _requested:
        raise KeyboardInterrupt


@contextmanager
def postponed() -> Iterator[None]:
    """Within the context, which should last seconds at most, the first Ctrl-C is announced, and
    raised at the end. A second Ctrl-C is raised at once.

    Has no effect outside :func:`interruptible`.
    """
    global _postponed
    _postponed = True
    try:
        yield
    finally:
        _postponed = False
    raise_if_interrupted()


def _report_lost(report: Callable[[Any], None]) -> Callable[[Any], None]:
    """``report``, which prints exceptions that a callback or a finalizer cannot raise, without the
    :class:`KeyboardInterrupt` of a request that is remembered: a loop raises it later."""

    def report_others(lost: Any) -> None:
        if not (_requested and issubclass(lost.exc_type, KeyboardInterrupt)):
            report(lost)

    return report_others


def _remember(number: int, frame: FrameType | None) -> None:
    global _requested
    first, _requested = not _requested, True
    if not (_postponed and first):
        signal.default_int_handler(number, frame)
    if _announce is not None:
        with suppress(RuntimeError):  # of a stream that is being written to just now
            _announce()
