"""Conditions of forward passes within compiled graphs, for their backward passes.

A compiled graph saves tensors only. What else a backward pass needs stays in the layer, under a
number that the graph saves: the layer's present conditions may differ from those of the forward
pass, after ``eval()``, a step of a ramp of noise, or another profile.
"""

from __future__ import annotations

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
        chip: the chip, if the backward pass reads its weights; None if it programs them again.
    """

    array: Array
    rule: BackwardRule
    attempts: Tensor | None
    chip: Chip | None

    def are(self, others: Conditions) -> bool:
        """Whether all are the same objects as in ``others``."""
        return all(one is other for one, other in zip(self, others, strict=True))


class HeldConditions:
    """The last conditions of a layer, by number. Only the newest have a chip, as chips are large.

    Copies and pickles are empty: a copied layer has no graphs.
    """

    def __init__(self) -> None:
        self._held: dict[int, Conditions] = {}
        self._count = 0

    def number_of(self, conditions: Conditions) -> int:
        """The number of ``conditions``, which are held from now on."""
        for number, held in self._held.items():
            if held.are(conditions):
                self._held[number] = self._held.pop(number)  # the newest again
                return number
        for number, held in self._held.items():
            self._held[number] = held._replace(chip=None)
        self._count += 1
        self._held[self._count] = conditions
        if len(self._held) > _MOST:
            del self._held[next(iter(self._held))]
        return self._count

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
