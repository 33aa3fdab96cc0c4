"""Chips that several calls of a layer use: of evaluation mode, and of a recurrence in training."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from cimsim.array import Chip
from cimsim.kernels.fingerprint import fingerprint
from cimsim.lasting import lasting


@dataclass
class SharedChip:
    """A chip in training that several calls use: its seed, its weight, and its reads so far."""

    seed: int
    weight: Tensor
    chip: Chip
    reads: int = 0


class ChipCache:
    """The chip of evaluation mode, programmed again when its weights have changed.

    Copies and pickles are empty: a copied layer programs the same chip from its own weights.
    """

    def __init__(self) -> None:
        self.chip: Chip | None = None
        self._content: tuple[object, ...] = ()

    def get(self, program: Callable[[], Chip], tensors: Iterable[Tensor], *others: object) -> Chip:
        """The chip that ``program`` returns; called if there is none, or if ``tensors`` or
        ``others`` differ from those at the last call.

        Fingerprints rather than version counters, which fused optimizers and writes through
        ``.data`` do not change.
        """
        content = *others, *((t.shape, t.dtype, t.device, fingerprint(t)) for t in tensors)
        if self.chip is None or self._content != content:
            with lasting():
                self.chip = program()
            self._content = content
        return self.chip

    def clear(self) -> None:
        """Forget the chip."""
        self.chip = None

    def __deepcopy__(self, memo: dict[int, Any]) -> ChipCache:
        return ChipCache()

    def __reduce__(self) -> tuple[type[ChipCache], tuple[()]]:
        return ChipCache, ()
