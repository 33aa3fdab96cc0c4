"""The contract of an array's two back ends, ``plain`` and ``fused``."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from cimsim.array.circuit import Circuit
from cimsim.array.masks import Mask
from cimsim.array.types import Chip, ConverterRanges, Programmed, Readout, SaveOptions


class Programmer(Protocol):
    """The part of a back end that writes weights."""

    def chip(
        self,
        circuit: Circuit,
        weight: Tensor,
        seed: int,
        age_s: float,
        single_use: bool,
        cycle: int,
    ) -> Chip:
        """See :meth:`cimsim.array.Array.chip`."""

    def programmed(
        self, circuit: Circuit, weight: Tensor, seed: int, age_s: float, scale: Tensor, cycle: int
    ) -> Programmed:
        """See :meth:`cimsim.array.Array.programmed`."""


class Multiplier(Protocol):
    """The part of a back end that reads, and that transposes reads for backward rules."""

    def read(
        self,
        circuit: Circuit,
        x: Tensor,
        chip: Chip,
        ranges: ConverterRanges,
        read_seed: int,
        bias: Tensor | None,
        save: SaveOptions,
        precision: torch.dtype | None,
    ) -> Readout:
        """See :meth:`cimsim.array.Array.mvm`."""

    def encode(
        self, circuit: Circuit, x: Tensor, ranges: ConverterRanges, dtype: torch.dtype
    ) -> Tensor:
        """See :meth:`cimsim.array.Array.encode`; the DAC is not ideal."""

    def decode(self, codes: Tensor, dtype: torch.dtype) -> Tensor:
        """See :meth:`cimsim.array.Array.decode`."""

    def through_dac(
        self,
        circuit: Circuit,
        dx: Tensor,
        x: Tensor | None,
        mask: Mask | None,
        ranges: ConverterRanges,
        want_range: bool,
    ) -> tuple[Tensor, Tensor | None]:
        """See :meth:`cimsim.array.Array.through_dac`; the DAC is not ideal, and there is an input
        or a mask."""

    def scatter_to_columns(
        self,
        circuit: Circuit,
        dy: Tensor,
        mask: Mask | None,
        scale: Tensor | None,
        dtype: torch.dtype,
    ) -> Tensor:
        """See :meth:`cimsim.array.Array.scatter_to_columns`."""
