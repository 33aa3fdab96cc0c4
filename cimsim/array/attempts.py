"""Cells that are written several times within one write cycle of their chip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from cimsim.circuits.mapping import Mapping
from cimsim.seeds import attempt_cycle

Sample = TypeVar("Sample", Tensor, "Tensor | None")


@dataclass(frozen=True)
class Writes:
    """The last write of each cell of an array.

    Every write samples the errors of all cells, and each cell has those of its last write.

    Attributes:
        cycle: number of earlier write cycles of the chip.
        again: for each later write, its number as a cycle and the cells whose last one it is,
            ``[tiles, physical columns, rows]``.
    """

    cycle: int
    again: tuple[tuple[int, Tensor], ...] = ()

    @classmethod
    def of(cls, cycle: int, attempts: Tensor | None, mapping: Mapping) -> Writes:
        """The writes of cycle ``cycle``, where ``attempts [tiles, columns, rows]`` counts how often
        each weight was written again; None for never.

        All cells of a weight are written together, and the cells of the reference columns once.
        """
        if attempts is None:
            return cls(cycle)
        columns = mapping.with_references(attempts.repeat(1, mapping.array.slices, 1), 0)
        numbers = [int(number) for number in attempts.unique().tolist() if number]
        return cls(cycle, tuple((attempt_cycle(cycle, n), columns == n) for n in numbers))

    def last(self, sample: Callable[[int], Sample]) -> Sample:
        """``sample(cycle)`` of the last write of each cell; its last dimensions are those of the
        masks."""
        result = sample(self.cycle)
        for cycle, cells in self.again:
            new = sample(cycle)
            if new is not None and result is not None and new is not result:
                result = torch.where(cells, new, result)
        return result
