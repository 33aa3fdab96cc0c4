"""Conditions of forward passes within compiled graphs, for their backward passes.

A compiled graph saves tensors only. What else a backward pass needs stays in the layer, under a
number that the graph saves: the layer's current conditions may differ from those of the forward
pass, after ``eval()``, a step of a ramp of noise, or another profile.
"""

from __future__ import annotations

from threading import Lock
from typing import NamedTuple

from torch import Tensor

from cimsim.array import Array, Chip
from cimsim.errors import CimsimError
from cimsim.estimators import BackwardRule

_MOST = 16  # conditions of a layer; those of each step of a ramp are new


class Conditions(NamedTuple):
    """What a backward pass needs besides tensors; compared by identity.

    Attributes:
        array, rule: the array, and its backward rule.
        attempts: how often each weight was written again; None for never.
    """

    array: Array
    rule: BackwardRule
    attempts: Tensor | None

    def are(self, others: Conditions) -> bool:
        """Whether all are the same objects as in ``others``."""
        return all(one is other for one, other in zip(self, others, strict=True))


class ChipName(NamedTuple):
    """What names the chip of a forward pass: its seed, its write cycle, the number of the
    conditions, and its age."""

    seed: int
    cycle: int
    conditions: int
    age_s: float


class HeldChip(NamedTuple):
    """A chip by its name, and the number of backward passes that have yet to read it."""

    name: ChipName
    chip: Chip
    passes: int


class HeldConditions:
    """The last conditions of a layer, by number, and the last chip that backward reads, by name.

    Copies and pickles are empty: a copied layer has no graphs.
    """

    def __init__(self) -> None:
        self._held: dict[int, Conditions] = {}
        self._count = 0
        self._lock = Lock()
        self._chip: HeldChip | None = None

    def number_of(self, conditions: Conditions) -> int:
        """The number of ``conditions``, which are held from now on."""
        with self._lock:
            for number, held in self._held.items():
                if held.are(conditions):
                    self._held[number] = self._held.pop(number)  # the newest again
                    return number
            self._count += 1
            self._held[self._count] = conditions
            if len(self._held) > _MOST:
                del self._held[next(iter(self._held))]
            return self._count

    def hold_chip(self, name: ChipName, chip: Chip) -> None:
        """Hold ``chip`` for one more backward pass, instead of another one, as chips are large."""
        with self._lock:
            held = self._chip
            same = held is not None and held.name == name and held.chip is chip
            before = held.passes if held is not None and same else 0
            self._chip = HeldChip(name, chip, before + 1)

    def take_chip(self, name: ChipName) -> Chip | None:
        """The chip of that name for a backward pass, if it was the last one; the last of its
        passes releases it."""
        with self._lock:
            held = self._chip
            if held is None or held.name != name:
                return None
            self._chip = held._replace(passes=held.passes - 1) if held.passes > 1 else None
            return held.chip

    def get(self, number: int) -> Conditions:
        """The conditions of that number.

        Raises:
            CimsimError: if newer ones have replaced them.
        """
        conditions = self._held.get(number)
        if conditions is None:
            raise CimsimError(
                f"the conditions of a compiled layer changed more than {_MOST - 1} times between a "
                "forward pass and its backward pass; run backward earlier, or without torch.compile"
            )
        return conditions

    def __deepcopy__(self, memo: dict[int, object]) -> HeldConditions:
        return HeldConditions()

    def __reduce__(self) -> tuple[type[HeldConditions], tuple[()]]:
        return HeldConditions, ()
