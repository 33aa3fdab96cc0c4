"""Calls of a layer that backward may repeat, as activation checkpointing does."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeAlias

MOST_CALLS = 1 << 16
"""The most calls of a layer that are remembered for one pair of hooks."""

Hook: TypeAlias = Callable[[Any], Any]


class _Calls(NamedTuple):
    """The numbers of the calls under one hook, which is referenced weakly if that is possible."""

    hook: weakref.ref[Hook] | None
    numbers: deque[int]


class RepeatedCalls:
    """Numbers of calls, each remembered while backward may repeat it.

    That is while the hook exists that unpacks the tensors saved in the call: it belongs to the
    graph, and each checkpoint has its own. A hook of other code may exist forever, so the oldest
    calls of a hook with more than ``MOST_CALLS`` are forgotten.

    Attributes:
        forgotten: whether a call was forgotten whose hook existed.
    """

    def __init__(self) -> None:
        self.forgotten = False
        self._numbers: set[int] = set()
        self._of_hook: dict[int, _Calls] = {}

    def __contains__(self, number: int) -> bool:
        return number in self._numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def __reduce__(self) -> tuple[type[RepeatedCalls], tuple[()]]:
        """A copy of a layer is not part of its graphs."""
        return RepeatedCalls, ()

    def add(self, number: int, hook: Hook) -> None:
        """Remember a call while ``hook`` exists."""
        place = id(hook)
        calls = self._of_hook.get(place)
        if calls is None:
            forget = partial(_forget, self._of_hook, self._numbers, place)
            try:
                reference = weakref.ref(hook, forget)
            except TypeError:  # a method of a built-in class, which exists forever
                reference = None
            calls = self._of_hook[place] = _Calls(reference, deque())
        calls.numbers.append(number)
        self._numbers.add(number)
        if len(calls.numbers) > MOST_CALLS:
            self._numbers.discard(calls.numbers.popleft())
            self.forgotten = True


def _forget(of_hook: dict[int, _Calls], numbers: set[int], place: int, _: object) -> None:
    """Forget the calls under a hook that no longer exists."""
    numbers.difference_update(of_hook.pop(place).numbers)
