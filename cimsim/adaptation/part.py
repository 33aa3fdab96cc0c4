"""A part of an adaptation, its cost, and what it works with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

from torch import nn

from cimsim.adaptation.bench import Bench
from cimsim.nn import AnalogLayer, analog_layers

CELLS, CONVERTERS = "cells", "converters"
"""What a part may need of a chip besides products: to read and write its cells, or to set the
ranges of its converters."""


@dataclass(frozen=True)
class Change:
    """The numbers that a part has changed.

    Attributes:
        added: digital numbers that the model did not have before.
        changed: digital numbers that it had.
        written: cells that were written to other targets, or again; each write counts.
        read: cells that were read one by one, as often as they were read.
    """

    added: int = 0
    changed: int = 0
    written: int = 0
    read: int = 0


class Part(ABC):
    """One way to recover accuracy on one chip; its constructor arguments are its settings.

    Attributes:
        name: on the command line.
        title: what it does, for tables.
        needs: what it needs of a chip besides products: ``cells``, ``converters``.
        learns: whether its result depends on the teacher.
        draws: whether it draws random numbers.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    needs: ClassVar[frozenset[str]] = frozenset()
    learns: ClassVar[bool] = False
    draws: ClassVar[bool] = False

    def obstacle(self, model: nn.Module) -> str | None:
        """Why the part has nothing to change in ``model``; None if it has."""
        return None

    @abstractmethod
    def apply(self, bench: Bench) -> Change:
        """Change ``bench.model``."""


@dataclass(frozen=True)
class Cost:
    """The cost of one part.

    Attributes:
        part: its name with its settings.
        batches: batches that were run on the chip.
        vectors: input vectors that the chip's arrays multiplied, those of all layers added up.
        seconds: time of the simulation, or of the chip if it is your own.
        change: the numbers that were changed.
    """

    part: str
    batches: int
    vectors: int
    seconds: float
    change: Change = field(default_factory=Change)


def on_chip(model: nn.Module) -> dict[str, AnalogLayer]:
    """The layers of ``model`` that do not compute digitally at the moment."""
    return {name: layer for name, layer in analog_layers(model).items() if not layer.digital}
