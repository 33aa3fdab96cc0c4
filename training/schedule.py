"""The work of a method around each optimizer step, in our training loop and in any other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import zip_longest

import torch
from torch import nn

from cimsim.nn import analog_layers
from cimsim.nn.batches import Batches, Forward
from cimsim.training.clipping import clip_weights, warn_of_unclipped
from cimsim.training.config import TrainConfig
from cimsim.training.methods import Method


class Schedule:
    """Applies ``method`` to ``model`` over ``steps`` optimizer steps, numbered from 0.

    It has no position: the number of a step determines everything but the averages, so that a
    resumed training equals an uninterrupted one.

    Attributes:
        average: moving averages of all parameters; empty without ``config.average``.
    """

    def __init__(self, model: nn.Module, method: Method, config: TrainConfig, steps: int) -> None:
        self.model, self.method, self.config, self.steps = model, method, config, steps
        self.average = [p.detach().clone() for p in model.parameters()] if config.average else []
        if config.clip_sigma and method.noisy:
            warn_of_unclipped(model)

    def strength(self, at: int) -> float:
        """Share of the noise at step ``at``: 0 in the warm-up, then a linear ramp to 1."""
        if not self.method.noisy:
            return 0.0
        warm, ramp = self.config.warmup * self.steps, self.config.ramp * self.steps
        if at < warm:
            return 0.0
        return min(1.0, (at - warm + 1) / max(ramp, 1.0))

    def calibrates(self, at: int, epoch_starts: bool) -> bool:
        """Whether converters are calibrated before step ``at``: when noise starts, and from then
        on before steps 1, 2, 4, 8, … and where ``epoch_starts``."""
        sets_in = self.strength(at - 1) == 0
        return self.strength(at) > 0 and (sets_in or epoch_starts or _is_power_of_two(at))

    def calibrate(self, at: int, batches: Batches, forward: Forward | None = None) -> None:
        """Calibrate the converters before step ``at``; also those with learned ranges, if their
        training starts with this step."""
        starts = self.strength(at - 1) == 0
        with self._learned_ranges_unknown() if starts else nullcontext():
            self.method.settle(self.model, batches, self.strength(at - 1), at - 1, forward)

    @contextmanager
    def _learned_ranges_unknown(self) -> Iterator[None]:
        """Within the block, learned ranges and their averages are unknown; a range that is still
        unknown at the end, because no signal reached its layer, becomes the earlier one."""
        layers = analog_layers(self.model).values()
        ranges = {id(known): known for layer in layers for known in layer.learned_ranges}
        before = {name: known.detach().clone() for name, known in ranges.items()}
        with torch.no_grad():
            for parameter, mean in zip_longest(self.model.parameters(), self.average):
                if id(parameter) in ranges:
                    parameter.fill_(torch.nan)
                    if mean is not None:
                        mean.fill_(torch.nan)
        try:
            yield
        finally:
            with torch.no_grad():
                for name, known in ranges.items():
                    known.copy_(torch.where(known.isnan(), before[name], known))

    def advance(self, at: int) -> None:
        """Set the progress of weight quantizers with a schedule to step ``at``."""
        for layer in analog_layers(self.model).values():
            if layer.weight_quantizer is not None:
                layer.weight_quantizer.advance(min(at / max(self.steps - 1, 1), 1.0))

    def setting(
        self, at: int, chip: int = 0, louder: float = 1.0
    ) -> AbstractContextManager[object]:
        """Return a context in which the model computes a forward pass of step ``at``; see
        :meth:`cimsim.training.methods.Method.setting`."""
        return self.method.setting(self.model, self.strength(at), at, chip, louder)

    @torch.no_grad()
    def after_step(self, at: int) -> None:
        """Clip the weights and update their moving average, after the optimizer's step ``at``."""
        if self.config.clip_sigma and self.strength(at) > 0:
            clip_weights(self.model, self.config.clip_sigma)
        decay = min(self.config.average, (1 + at) / (10 + at))
        for mean, parameter in zip(self.average, self.model.parameters(), strict=False):
            # NaN marks a range that was not measured yet when the average began.
            new = torch.where(mean.isnan(), parameter, mean.lerp(parameter, 1 - decay))
            mean.copy_(new)

    @torch.no_grad()
    def take_average(self) -> None:
        """Replace the parameters by their averages, if there are any."""
        for parameter, mean in zip(self.model.parameters(), self.average, strict=False):
            parameter.copy_(mean)


def _is_power_of_two(n: int) -> bool:
    return n > 0 and n & (n - 1) == 0
