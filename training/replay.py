"""Exact repetition of a forward pass: the same chips, reads and dropout."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from cimsim.nn import AnalogLayer, ColumnDenoiser
from cimsim.quantizers.quantizer import RandomQuantizer
from cimsim.torch_private import BatchNorm

_APART = 1 << 40  # more than the forward passes of any training


class Repeat:
    """Stores the random state of ``model`` to restore it later.

    The state consists of the counters of chips and reads of analog layers, the counters of
    quantizers, and torch's random state, which dropout uses.
    """

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        self._model, self._device = model, device
        self._layers = [m for m in model.modules() if isinstance(m, AnalogLayer)]
        self._quantizers = [m for m in model.modules() if isinstance(m, RandomQuantizer)]
        self._start = self._state()

    def _state(self) -> tuple[list[tuple[int, int]], list[int], list[torch.Tensor]]:
        states = [torch.get_rng_state()]
        if self._device.type == "cuda":
            states.append(torch.cuda.get_rng_state(self._device))
        counts = [(layer.draws, layer.reads) for layer in self._layers]
        return counts, [quantizer.draws for quantizer in self._quantizers], states

    def _take_chip(self, number: int) -> None:
        for layer in self._layers:
            layer.draws += number * _APART
        # Layers that backward may compute again name their chips by the random state instead.
        torch.rand(number, device="cpu")

    def _go_to(self, state: tuple[list[tuple[int, int]], list[int], list[torch.Tensor]]) -> None:
        counts, draws, states = state
        for layer, (chips, reads) in zip(self._layers, counts, strict=True):
            layer.draws, layer.reads = chips, reads
        for quantizer, count in zip(self._quantizers, draws, strict=True):
            quantizer.draws = count
        torch.set_rng_state(states[0])
        if len(states) > 1:
            torch.cuda.set_rng_state(states[1], self._device)

    @contextmanager
    def again(self, chip: int = 0) -> Iterator[None]:
        """Restore the stored state within the block.

        ``chip`` other than 0 numbers another chip, which no step and no other number uses; the
        rest of the random state is that of a later sample.

        Batch normalization still normalizes by the batch, but its running statistics, and those of
        the columns' denoisers, are not updated. The state from before the block is restored
        afterwards.
        """
        here = self._state()
        norms = [m for m in self._model.modules() if isinstance(m, BatchNorm)]
        denoisers = [m for m in self._model.modules() if isinstance(m, ColumnDenoiser)]
        kept = [(m.statistics.clone(), m.seen.clone()) for m in denoisers]
        before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
        for norm in norms:
            norm.momentum = 0.0
            if norm.num_batches_tracked is not None:
                norm.num_batches_tracked = norm.num_batches_tracked.clone()
        self._go_to(self._start)
        if chip:
            self._take_chip(chip)
        try:
            yield
        finally:
            for norm, (momentum, tracked) in zip(norms, before, strict=True):
                norm.momentum, norm.num_batches_tracked = momentum, tracked
            for denoiser, (statistics, seen) in zip(denoisers, kept, strict=True):
                denoiser.statistics.copy_(statistics)
                denoiser.seen.copy_(seen)
            self._go_to(here)
