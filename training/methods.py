"""The ways to train: what the forward pass of one step sees."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import ClassVar

import torch
from torch import Tensor, nn

from cimsim.errors import CimsimError
from cimsim.nn import Assignment, age, calibrate, digital, perturbed, set_profile
from cimsim.seeds import generator
from cimsim.suggest import unknown
from cimsim.training.clipping import reestimate_statistics
from cimsim.training.config import TrainConfig, age_range_s


class Method(ABC):
    """One way to train a converted model against ``devices``. Holds no state of its own: step and
    noise strength say everything, so a resumed run is the same run."""

    name: ClassVar[str]
    noisy: ClassVar[bool] = True
    on_device: ClassVar[bool] = False  # whether training meets the device itself

    def __init__(self, config: TrainConfig, devices: Assignment) -> None:
        self.config = config
        self.devices = devices

    def settle(self, model: nn.Module, calibration: Iterable[Tensor]) -> None:
        """Called before steps 1, 2, 4, 8, … and at the start of every epoch, if there is noise."""
        return

    def finish(self, model: nn.Module, batches: Iterable[Tensor]) -> None:
        """Called once after the last step, with training inputs to look at."""
        return

    def _spread_out(self, noise: float, step: int) -> float:
        """The noise of this step: ``|N(noise, (spread * noise)^2)|``.

        So training meets quiet and loud chips (variance-aware training: X. Wang et al.,
        arXiv:2503.16183, who draw it for each sample; a chip is one for all of a batch).
        """
        spread = self.config.noise_spread
        if not spread:
            return noise
        draws = generator("loudness", self.config.seed, step)
        return abs(noise * (1 + spread * torch.randn((), generator=draws).item()))

    @abstractmethod
    def setting(
        self, model: nn.Module, strength: float, step: int
    ) -> AbstractContextManager[object]:
        """Within it ``model(x)`` is the forward of training step ``step``, with ``strength`` in
        [0, 1] of the noise."""


class Digital(Method):
    """The ordinary baseline: the device is not there while training."""

    name = "digital"
    noisy = False

    def setting(
        self, model: nn.Module, strength: float, step: int
    ) -> AbstractContextManager[object]:
        """Computed digitally."""
        return digital(model)


class StandardNAT(Method):
    """Noise-aware training as the literature has it: Gaussian weight noise in the autograd graph.

    ``W_noisy = W + strength * sigma * max|W| * xi`` per layer, with ``max|W|``
    differentiated too and no converters (V. Joshi et al., Nature Communications 11, 2473, 2020,
    sigma = 3.8 %).
    """

    name = "standard-nat"

    @contextmanager
    def setting(self, model: nn.Module, strength: float, step: int) -> Iterator[None]:
        """Noisy weights, computed digitally; the same noise whenever the step is set again."""
        sigma = strength * self._spread_out(self.config.gaussian_sigma, step)

        def noisy(name: str, weight: Tensor) -> Tensor:
            seed = ("standard-nat", self.config.seed, step, name)
            xi = torch.empty_like(weight).normal_(generator=generator(*seed, device=weight.device))
            return weight + sigma * weight.abs().max() * xi

        with digital(model), perturbed(model, noisy):
            yield


class NoiseAware(Method):
    """The device itself in every forward pass, a backward rule for the gradient.

    A fresh chip each step, at the configured age. The converters' ranges are measured on training
    data, often while the signals still grow and then once an epoch; those of the last epoch stay.
    """

    name = "noise-aware"
    on_device = True

    def settle(self, model: nn.Module, calibration: Iterable[Tensor]) -> None:
        """Set the converters to what the signals have grown to."""
        calibrate(model, calibration)

    def finish(self, model: nn.Module, batches: Iterable[Tensor]) -> None:
        """Let running statistics know the whole noise, at ages as they were trained."""

        def ageing() -> Iterator[Tensor]:
            for number, x in enumerate(batches):
                age(model, self._age_s("finish", number))
                yield x

        set_profile(model, self._louder(self.config.noise))
        reestimate_statistics(model, ageing())

    @contextmanager
    def setting(self, model: nn.Module, strength: float, step: int) -> Iterator[None]:
        """On a chip that no step has seen before; digitally while there is no noise."""
        if strength == 0:
            with digital(model):
                yield
            return
        noise = self._spread_out(self.config.noise, step)
        set_profile(model, self._louder(strength * noise))
        age(model, self._age_s("step", step))
        yield

    def _louder(self, factor: float) -> Assignment:
        """The devices with every noise times ``factor``, each layer's own."""
        return self.devices.map(lambda profile: profile.scale_noise(factor))

    def _age_s(self, *name: object) -> float:
        """Log-uniform in the configured range, one age per step; ``name`` names the draw."""
        low, high = age_range_s(self.config.age)
        if low == high:
            return low
        u = torch.rand((), generator=generator("age", self.config.seed, *name)).item()
        return math.expm1(math.log1p(low) + u * (math.log1p(high) - math.log1p(low)))


METHODS: dict[str, type[Method]] = {
    method.name: method for method in (NoiseAware, Digital, StandardNAT)
}


def make_method(config: TrainConfig, devices: Assignment) -> Method:
    """The method that ``config`` names.

    Raises:
        CimsimError: if there is none of that name.
    """
    if config.method not in METHODS:
        raise CimsimError(unknown("method", config.method, METHODS))
    return METHODS[config.method](config, devices)
