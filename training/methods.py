"""Training methods, which define the forward pass of a training step."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from cimsim.errors import CimsimError
from cimsim.estimators import RULES
from cimsim.layer_options import parse_layers
from cimsim.nn import Assignment, ColumnDenoiser, calibrate, digital, perturbed, set_profile
from cimsim.nn.batches import Batches, Forward
from cimsim.nn.training_conditions import train_as_evaluated, train_digitally, train_on
from cimsim.profile import Profile, non_idealities, only, sets_range
from cimsim.rule_names import letter_of_rule
from cimsim.seeds import generator
from cimsim.suggest import unknown
from cimsim.training.clipping import STATISTICS, reestimate_statistics
from cimsim.training.config import TrainConfig, age_range_s

_GAUSSIAN = frozenset({"gaussian_sigma", "gaussian_cutoff"})


class Method(ABC):
    """Base class of methods to train a converted model for ``profiles``.

    A method has no state: step and noise strength determine everything, so that a resumed run
    equals an uninterrupted one.

    Attributes:
        noisy: whether there is noise in training.
        on_device: whether training simulates the converters.
        simulates_cells: whether training simulates the cells, too.
        ignores: settings of a training that have no effect on this method.
    """

    name: ClassVar[str]
    noisy: ClassVar[bool] = True
    on_device: ClassVar[bool] = False
    simulates_cells: ClassVar[bool] = False
    ignores: ClassVar[frozenset[str]]

    def __init__(self, config: TrainConfig, profiles: Assignment) -> None:
        self.config = config
        self.profiles = profiles

    def settle(
        self,
        model: nn.Module,
        calibration: Batches,
        strength: float,
        step: int,
        forward: Forward | None = None,
    ) -> None:
        """Run before steps 1, 2, 4, 8, … and at the start of every epoch, if there is noise.

        ``strength`` and ``step`` belong to the previous step.
        """
        return

    def finish(self, model: nn.Module, batches: Batches, forward: Forward | None = None) -> None:
        """Measure running statistics again, on chips with their own noise at the ages of training.

        Run once after the last step, on a calibrated model, with batches of training inputs. The
        statistics are those of column denoisers and, if ``statistics`` is ``chip``, of batch
        normalization.
        """
        kinds = (ColumnDenoiser,) if self.config.statistics == "training" else STATISTICS

        def aged() -> Iterator[Any]:
            for number, batch in enumerate(batches):
                train_on(model, self.profiles, self._age_s("finish", number))
                yield batch

        try:
            reestimate_statistics(model, aged(), kinds, forward)
        finally:
            self.release(model)

    def release(self, model: nn.Module) -> None:
        """Return to the conditions of evaluation mode in training mode."""
        train_as_evaluated(model)

    def _age_s(self, *name: object) -> float:
        """Sample an age, log-uniform in the configured range; ``name`` is part of the seed."""
        low, high = age_range_s(self.config.age)
        if low == high:
            return low
        draws = generator("age", self.config.seed, *name)
        u = torch.rand((), generator=draws, dtype=torch.float32, device="cpu").item()
        return math.expm1(math.log1p(low) + u * (math.log1p(high) - math.log1p(low)))

    def _spread_out(self, noise: float, step: int) -> float:
        """Sample the noise factor of this step: ``|N(noise, (spread * noise)^2)|``.

        Chips with little and with much noise occur in training (variance-aware training: X. Wang et
        al., arXiv:2503.16183, who sample per input; here all inputs of a batch share a chip).
        """
        spread = self.config.noise_spread
        if not spread:
            return noise
        draws = generator("loudness", self.config.seed, step)
        xi = torch.randn((), generator=draws, dtype=torch.float32, device="cpu").item()
        return abs(noise * (1 + spread * xi))

    def _gaussian_noise(
        self, model: nn.Module, strength: float, step: int, chip: int
    ) -> AbstractContextManager[object]:
        """Add ``strength * sigma * max|W| * xi`` to the weights of each layer."""
        sigma = strength * self._spread_out(self.config.gaussian_sigma, step)
        numbered = (chip,) if chip else ()

        def noisy(name: str, weight: Tensor) -> Tensor:
            seed = ("standard-nat", self.config.seed, step, name, *numbered)
            xi = torch.empty_like(weight).normal_(generator=generator(*seed, device=weight.device))
            if self.config.gaussian_cutoff is not None:
                xi = xi.clamp_max(self.config.gaussian_cutoff)
            return weight + sigma * weight.abs().max() * xi

        return perturbed(model, noisy)

    @abstractmethod
    def setting(
        self, model: nn.Module, strength: float, step: int, chip: int = 0, louder: float = 1.0
    ) -> AbstractContextManager[object]:
        """Return a context in which ``model(x)`` is a forward pass of training step ``step``.

        Args:
            model: the model, in training mode.
            strength: fraction of the noise, from 0 to 1.
            step: number of the step.
            chip: number of the chip, for steps that use several; 0 is that of the loss.
            louder: a further factor on all noise.
        """


class Digital(Method):
    """Digital training without the chip, as a baseline."""

    name = "digital"
    noisy = False
    ignores = frozenset(
        {"rule", "warmup", "ramp", "noise", "noise_spread", "clip_sigma", *_GAUSSIAN}
    )

    def setting(
        self, model: nn.Module, strength: float, step: int, chip: int = 0, louder: float = 1.0
    ) -> AbstractContextManager[object]:
        """Compute digitally."""
        return digital(model)


class StandardNAT(Method):
    """Noise-aware training as in the literature: Gaussian weight noise in the autograd graph.

        W_noisy = W + strength sigma max|W| xi,   xi = min(N(0, 1), cutoff)

    The gradient flows through ``max|W|`` of the layer, and there are no converters (V. Joshi et
    al., Nature Communications 11, 2473, 2020, sigma = 3.8 %). The noise is Gaussian without
    ``gaussian_cutoff``, and right-censored with it: larger samples become the cutoff, so that its
    mean is below 0. This training is for the accuracy of the worst chips (TRICE, Z. Yan et al.,
    ICCAD 2023, arXiv:2307.15853; its search for sigma and the cutoff is left to the user).
    """

    name = "standard-nat"
    ignores = frozenset({"rule", "noise"})

    @contextmanager
    def setting(
        self, model: nn.Module, strength: float, step: int, chip: int = 0, louder: float = 1.0
    ) -> Iterator[None]:
        """Compute digitally with noisy weights; the noise is the same in every pass of a chip."""
        with digital(model), self._gaussian_noise(model, louder * strength, step, chip):
            yield


class ChipNoise(Method):
    """Simulation of the chip in every forward pass, with a backward rule for the gradient.

    Every step samples a new chip at the configured age. The converters' ranges are calibrated on
    training data, frequently at first and then once per epoch; the run keeps those of the last
    epoch. In evaluation mode the model stays on its own profile.
    """

    name = "noise-aware"
    on_device = True
    simulates_cells = True
    ignores = _GAUSSIAN

    def settle(
        self,
        model: nn.Module,
        calibration: Batches,
        strength: float,
        step: int,
        forward: Forward | None = None,
    ) -> None:
        """Calibrate the converters to the current signals.

        A range allows for the noise of its ADC, with the factor of the step before.
        """
        if strength:
            set_profile(model, self._louder(strength * self._spread_out(self.config.noise, step)))
        try:
            calibrate(model, calibration, forward=forward)
        finally:
            set_profile(model, self.profiles)

    @contextmanager
    def setting(
        self, model: nn.Module, strength: float, step: int, chip: int = 0, louder: float = 1.0
    ) -> Iterator[None]:
        """Compute on a new chip, or digitally while there is no noise.

        The conditions of training mode stay until the next step, for backward passes that compute
        layers again; louder noise ends with the context.
        """
        self.apply(model, strength, step, louder)
        try:
            yield
        finally:
            if louder != 1.0:
                self.apply(model, strength, step)

    def apply(self, model: nn.Module, strength: float, step: int, louder: float = 1.0) -> None:
        """Set the conditions of training mode for step ``step``."""
        if strength == 0:
            train_digitally(model)
            return
        noise = self._spread_out(self.config.noise, step)
        train_on(model, self._louder(louder * strength * noise), self._age_s("step", step))

    def _louder(self, factor: float) -> Assignment:
        """Return the profiles of all layers with all noise multiplied by ``factor``."""
        return self.profiles.map(lambda profile: profile.scale_noise(factor))


class FakeQuantized(ChipNoise):
    """Gaussian weight noise as in :class:`StandardNAT`, behind fake-quantized converters.

    Inputs and column outputs are rounded and clipped by the DAC and the ADC of the profile, with
    the resolution, the ranges and the tiles of the profile, and the gradient passes straight
    through the rounding and is 0 where a converter saturates. Cells and converters have no other
    error. This is the usual way to train for an analog chip without a model of its physics
    (M. J. Rasch et al., Nature Communications 14, 5282, 2023).
    """

    name = "fake-quantized"
    simulates_cells = False
    ignores = frozenset({"noise"})

    def __init__(self, config: TrainConfig, profiles: Assignment) -> None:
        super().__init__(config, profiles)
        self._quantizing = profiles.map(_converters_only)

    @contextmanager
    def setting(
        self, model: nn.Module, strength: float, step: int, chip: int = 0, louder: float = 1.0
    ) -> Iterator[None]:
        """Compute with fake-quantized converters and noisy weights, or digitally without noise."""
        self.apply(model, strength, step)
        with self._gaussian_noise(model, louder * strength, step, chip):
            yield

    def _louder(self, factor: float) -> Assignment:
        return self._quantizing


def _converters_only(profile: Profile) -> Profile:
    """Return a copy with ideal cells, lines and converters, but with their resolution."""
    kept = {"cell.levels", "dac.bits", "adc.bits"}
    return only(profile, kept.intersection(non_idealities(profile)))


METHODS: dict[str, type[Method]] = {
    method.name: method for method in (ChipNoise, Digital, FakeQuantized, StandardNAT)
}


def without_unused_ranges(config: TrainConfig) -> TrainConfig:
    """Return ``config`` without ``learn_ranges`` if its method simulates no converters.

    This is for settings that several methods share.
    """
    if config.method in METHODS and not METHODS[config.method].on_device:
        return config.model_copy(update={"learn_ranges": None})
    return config


def ranges_to_learn(config: TrainConfig) -> tuple[str, ...]:
    """Return the converters whose ranges are parameters of the training.

    By default, that is the DAC in trainings that simulate the chip; and none if a rule of the
    backward pass does not stop at saturated inputs, because inputs and learned ranges can diverge
    then, or if the user sets ``dac.range``, which a learned range would replace.

    Raises:
        CimsimError: if ``learn_ranges`` names converters that the method does not simulate.
    """
    if config.method not in METHODS:
        return ()
    if not METHODS[config.method].on_device:
        if config.learn_ranges:
            raise CimsimError(
                f"learn_ranges: method '{config.method}' does not simulate the converters, so "
                "their ranges cannot be learned; leave learn_ranges out or set it to none, or "
                "choose method noise-aware or fake-quantized"
            )
        return ()
    if config.learn_ranges is not None:
        return config.learn_ranges
    layers = parse_layers(config.layer).values()
    names = {config.rule, *(str(settings.get("rule", config.rule)) for settings in layers)}
    rules = [RULES.get(letter_of_rule(name).upper()) for name in names]
    is_set = sets_range(config.overrides, "dac") or any(sets_range(s, "dac") for s in layers)
    passes = any(rule is not None and not rule.needs_slopes for rule in rules)
    return () if is_set or passes else ("dac",)


def make_method(config: TrainConfig, profiles: Assignment) -> Method:
    """Build the method that ``config`` names.

    Raises:
        CimsimError: if there is no method of that name.
    """
    if config.method not in METHODS:
        raise CimsimError(unknown("method", config.method, METHODS))
    return METHODS[config.method](config, profiles)
