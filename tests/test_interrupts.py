"""Ctrl-C ends a command, wherever it is raised."""

from __future__ import annotations

import signal
import sys
import weakref
from collections.abc import Iterator

import pytest

from cimsim.interrupts import interruptible, postponed, raise_if_interrupted


@pytest.fixture(autouse=True)
def handled_as_in_a_terminal() -> Iterator[None]:
    """A process in the background of a shell ignores SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Thing:
    """An object with a finalizer."""


def test_one_that_a_finalizer_loses_is_raised_by_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And Python prints no traceback of it."""
    printed: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", printed.append)
    reached = []

    def loop() -> None:
        thing = Thing()
        callback = weakref.ref(thing, lambda _: signal.raise_signal(signal.SIGINT))
        del thing
        reached.append(callback)
        raise_if_interrupted()

    with pytest.raises(KeyboardInterrupt), interruptible():
        loop()
    assert reached
    assert not printed
    raise_if_interrupted()  # the next command starts without it


def test_other_exceptions_of_finalizers_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    printed: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", printed.append)
    with interruptible():
        thing = Thing()
        callback = weakref.ref(thing, lambda _: 1 / 0)
        del thing
    assert callback() is None
    assert len(printed) == 1
    assert sys.unraisablehook == printed.append


def test_one_within_a_step_is_raised_at_its_end() -> None:
    reached = []

    def loop() -> None:
        with postponed():
            signal.raise_signal(signal.SIGINT)
            reached.append("end of the step")
        reached.append("next step")

    with pytest.raises(KeyboardInterrupt), interruptible():
        loop()
    assert reached == ["end of the step"]


def test_one_that_is_postponed_is_announced_once() -> None:
    """A step that compiles kernels takes seconds, in which nothing else would be seen."""
    announced: list[str] = []

    def announce() -> None:
        announced.append("stops soon")
        raise RuntimeError("reentrant call inside a writer")

    with pytest.raises(KeyboardInterrupt), interruptible(announce), postponed():
        signal.raise_signal(signal.SIGINT)
    assert announced == ["stops soon"]
    with pytest.raises(KeyboardInterrupt), interruptible(announce):
        signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), interruptible(), postponed():
        signal.raise_signal(signal.SIGINT)
    assert announced == ["stops soon"]


def test_a_second_one_ends_a_step() -> None:
    reached, announced = [], []

    def step() -> None:
        for number in range(3):
            reached.append(number)
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt), interruptible(lambda: announced.append(1)), postponed():
        step()
    assert reached == [0, 1]
    assert announced == [1]


def test_it_ends_a_step_at_once_in_the_loop_of_a_caller() -> None:
    with pytest.raises(KeyboardInterrupt), postponed():
        signal.raise_signal(signal.SIGINT)
    raise_if_interrupted()


def test_errors_that_follow_from_it_are_it() -> None:
    def fail() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            raise RuntimeError("trying to pop from empty mode stack")

    with pytest.raises(KeyboardInterrupt), interruptible():
        fail()


def test_other_errors_pass() -> None:
    with pytest.raises(RuntimeError, match="something else"), interruptible():
        raise RuntimeError("something else")


def test_the_handler_of_a_caller_stays() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruptible():
            signal.raise_signal(signal.SIGINT)
            raise_if_interrupted()
    finally:
        signal.signal(signal.SIGINT, before)
