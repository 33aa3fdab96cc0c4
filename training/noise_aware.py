"""The schedule of noise-aware training for any training loop."""

from __future__ import annotations

import logging
import operator
from collections.abc import Iterator, Mapping
from datetime import timedelta
from itertools import chain, islice
from typing import Any

import torch
from torch import Tensor, nn

from cimsim.errors import CimsimError
from cimsim.nn import ColumnDenoiser, analog_layers, calibrate, profiles
from cimsim.nn.batches import Batches, Forward, each_batch
from cimsim.nn.forms import inner_module, require_module, require_weights
from cimsim.nn.statistics import is_batch_norm
from cimsim.training.checkpoint import check_state
from cimsim.training.config import TrainConfig, make_config
from cimsim.training.methods import ChipNoise
from cimsim.training.parallel import present_ranks
from cimsim.training.schedule import Schedule
from cimsim.units import parse_duration

logger = logging.getLogger("cimsim")

_SETTINGS = ("noise", "noise_spread", "clip_sigma", "warmup", "ramp", "age", "average", "seed")


class NoiseAware:
    """Noise-aware training of a converted model, in any training loop.

    ``cimsim train`` uses the same class. The training loop calls :meth:`step` once after every
    step of its optimizer, and :meth:`finish` at the end::

        with_noise = cimsim.NoiseAware(model, steps=len(loader) * epochs, calibration=loader)
        for _ in range(epochs):
            for x, y in loader:
                optimizer.zero_grad()
                loss(model(x), y).backward()
                optimizer.step()
                with_noise.step()
        with_noise.finish(loader)

    In training mode, every forward pass uses a new chip, with the noise of the profile times
    ``noise * strength``. The strength is 0 in the warm-up, in which layers compute digitally, and
    then grows linearly to 1::

        strength(t) = min(1, (t - warmup * steps + 1) / max(ramp * steps, 1)),  t >= warmup * steps

    In evaluation mode, the model uses its programmed chip, its own profile and its own age, so it
    can be evaluated between any two steps.

    In distributed training, all processes must create the object and call its methods together;
    the converter ranges, and the first values of learned ones, are those of the first process.

    Args:
        model: a converted model, also within ``torch.compile`` or ``DistributedDataParallel``.
        steps: number of optimizer steps of the whole training.
        noise: factor on every noise of the profile. A network is best at the noise that it was
            trained for; with a factor above 1, it tolerates more noise, but loses accuracy without
            noise.
        noise_spread: relative spread of the factor between steps, ``|N(noise, (spread noise)^2)|``.
        clip_sigma: after every step with noise, clip the weights of analog layers to this many
            times their RMS, per output; None for no clipping. Frozen weights are not clipped,
            and neither are weights that a parametrization such as weight norm computes; a warning
            names the latter's layers. In pruned layers, the remaining weights are clipped.
        warmup: fraction of the steps without noise, from 0 to 1.
        ramp: fraction of the steps over which noise grows to its full strength, from 0 to 1.
        age: age of the chips of training: a time such as ``"1h"``, or a range such as ``"1s:1d"``,
            from which every step samples an age (log-uniform).
        calibration: a data loader or an iterable of batches of training inputs. The converters are
            calibrated on its first ``calibration_batches`` batches if they have no ranges yet, when
            noise starts, and again after 1, 2, 4, 8, … steps and every ``recalibrate_every``
            steps, because training changes the signals. The batches are read once and kept.
            Without it, ranges stay as they are.
        calibration_batches: number of these batches.
        recalibrate_every: number of steps between calibrations, such as ``len(loader)`` for one
            per epoch; the default is a tenth of ``steps``.
        average: decay of a moving average of all parameters, which :meth:`finish` copies into the
            model; 0 for no average.
        seed: seed of the factors and ages. ``cimsim.convert`` sets the seed of the chips.
        forward: ``forward(model, batch)`` runs the model on a batch, see :func:`cimsim.calibrate`.

    Attributes:
        model: the model, without wrappers.
        steps_taken: number of calls of :meth:`step`.

    Raises:
        CimsimError: if ``model`` has no analog layers, already has a ``NoiseAware``, or is not
            calibrated and there is no ``calibration``; or if a setting is invalid.
    """

    def __init__(
        self,
        model: nn.Module,
        steps: int,
        *,
        noise: float = 1.0,
        noise_spread: float = 0.0,
        clip_sigma: float | None = 2.5,
        warmup: float = 0.0,
        ramp: float = 0.3,
        age: str | float | timedelta = "0s",
        calibration: Batches | None = None,
        calibration_batches: int = 8,
        recalibrate_every: int | None = None,
        average: float = 0.0,
        seed: int = 0,
        forward: Forward | None = None,
    ) -> None:
        require_module(model)
        self.model = model = inner_module(model)
        layers = analog_layers(model)
        require_weights(model)
        total = _count("steps", steps, "such as len(loader) * epochs")
        every = max(total // 10, 1) if recalibrate_every is None else recalibrate_every
        self.recalibrate_every = _count("recalibrate_every", every, "such as len(loader)")
        if isinstance(clip_sigma, int | float) and not clip_sigma > 0:
            raise CimsimError(
                f"NoiseAware: clip_sigma must be above 0, not {clip_sigma!r}; pass None for no "
                "clipping"
            )
        if any(layer.trained_apart for layer in layers.values()):
            raise CimsimError(
                "this model already has a NoiseAware; call its finish() or detach() first"
            )
        on = profiles(model)
        config = _config(
            profile=on.profile.name,
            noise=noise,
            noise_spread=noise_spread,
            clip_sigma=0.0 if clip_sigma is None else clip_sigma,
            warmup=warmup,
            ramp=ramp,
            age=age if isinstance(age, str) else f"{parse_duration(age)!r}s",
            average=average,
            seed=seed,
        )
        self._forward = forward
        self._calibration = _first(calibration, calibration_batches)
        self._method = ChipNoise(config, on)
        self._schedule = Schedule(model, self._method, config, total)
        self.steps_taken = 0
        self._attached = True
        # The weights of the processes may differ until DistributedDataParallel is made.
        present_ranks().share_first(self._schedule.average)
        self._calibrate_missing()  # evaluation needs ranges, in the warm-up, too
        self._set_conditions()

    @property
    def steps(self) -> int:
        """Number of optimizer steps of the whole training."""
        return self._schedule.steps

    @property
    def strength(self) -> float:
        """Share of the noise in the next training step: 0 in the warm-up, 1 after the ramp."""
        return self._schedule.strength(self.steps_taken)

    @property
    def active(self) -> bool:
        """Whether the training has not ended with :meth:`finish` or :meth:`detach`."""
        return self._attached

    def __repr__(self) -> str:
        return (
            f"NoiseAware(step {self.steps_taken} of {self.steps}, noise "
            f"{self._schedule.config.noise:g}, strength {self.strength:.2f})"
        )

    def step(self) -> None:
        """Proceed by one step; call it after every step of the optimizer.

        Clips the weights, updates their averages, calibrates the converters if it is due, and sets
        noise and age of the next forward passes in training mode. After ``steps`` calls, the noise
        keeps its full strength.

        Raises:
            CimsimError: after :meth:`finish` or :meth:`detach`.
        """
        self._require_attached("step")
        if self.steps_taken == 0:  # steps of quantizers, which the first batch may have set
            present_ranks().share_measured(self.model)
        self._schedule.after_step(self.steps_taken)
        self.steps_taken += 1
        at = self.steps_taken
        epoch_starts = at % self.recalibrate_every == 0
        if self._calibration and at != self.steps and self._schedule.calibrates(at, epoch_starts):
            self._calibrate()
        self._set_conditions()

    def finish(self, batches: Batches | None = None, *, limit: int = 50) -> None:
        """Finish the training and leave the model on its own profile.

        Puts the averaged parameters into the model, and measures the running statistics of batch
        normalization and of denoisers again under the full noise.

        Args:
            batches: a data loader or an iterable of batches of training inputs; by default the
                batches kept of ``calibration``.
            limit: number of batches to use.

        Raises:
            CimsimError: if the model needs batches and there are none, or after :meth:`finish` or
                :meth:`detach`.
        """
        self._require_attached("finish")
        given: Iterator[Any] = iter(())
        if self._has_statistics():
            given = islice(
                _nonempty(self._calibration or None if batches is None else batches),
                _count("limit", limit, "such as 50"),
            )
        self._schedule.take_average()
        self._method.finish(self.model, given, self._forward)
        self.detach()
        self._calibrate_missing()

    def detach(self) -> None:
        """End the training without :meth:`finish`: training mode uses the profile and the age of
        evaluation mode again."""
        if self._attached:
            self._method.release(self.model)
        self._attached = False

    def state_dict(self) -> dict[str, Any]:
        """The position in the schedule and the averages, to save next to ``model.state_dict()``,
        which contains the converter ranges and the number of chips used."""
        return {
            "step": self.steps_taken,
            "average": [mean.clone() for mean in self._schedule.average],
            "settings": self._settings(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state of :meth:`state_dict`; load the model's state, too.

        A resumed training equals an uninterrupted one bit for bit, if the loop repeats its batches
        and restores torch's random state.

        Raises:
            CimsimError: if ``state`` is not such a state, or belongs to another model.
        """
        self._require_attached("load_state_dict")
        at, average = _checked(state, self._schedule.average)
        for name, value in self._settings().items():
            before = state["settings"].get(name)
            if before != value:
                logger.warning("NoiseAware: %s was %r before, and is %r now", name, before, value)
        with torch.no_grad():
            for mean, saved in zip(self._schedule.average, average, strict=True):
                mean.copy_(saved)
        self.steps_taken = at
        self._set_conditions()

    def _settings(self) -> dict[str, Any]:
        named = {name: getattr(self._schedule.config, name) for name in _SETTINGS}
        return {**named, "steps": self.steps, "recalibrate_every": self.recalibrate_every}

    def _set_conditions(self) -> None:
        """Set everything that the next forward passes in training mode depend on."""
        self._schedule.advance(self.steps_taken)
        self._method.apply(self.model, self.strength, self.steps_taken)

    def _calibrate(self) -> None:
        ranks = present_ranks()
        ranks.share_measured(self.model)  # statistics of batch normalization
        self._schedule.calibrate(self.steps_taken, self._calibration, self._forward)
        ranks.share_measured(self.model)  # ranges, as the processes have different batches

    def _calibrate_missing(self) -> None:
        """Calibrate the layers that have no ranges in the first process, whose measured values all
        processes have afterwards."""
        ranks = present_ranks()
        ranks.share_measured(self.model)  # so that the same layers are missing in all processes
        missing = [one.name for one in analog_layers(self.model).values() if not one.calibrated]
        if missing and not self._calibration:
            raise CimsimError(
                f"NoiseAware: the converters of layer '{missing[0]}' have no range yet; pass "
                "calibration=loader, or call cimsim.calibrate(model, batches) first"
            )
        if missing:
            calibrate(self.model, self._calibration, missing=True, forward=self._forward)
            ranks.share_measured(self.model)

    def _has_statistics(self) -> bool:
        modules = self.model.modules()
        return any(is_batch_norm(one) or isinstance(one, ColumnDenoiser) for one in modules)

    def _require_attached(self, verb: str) -> None:
        if not self._attached:
            raise CimsimError(
                f"NoiseAware.{verb}: this training has ended with finish() or detach(); make "
                "another NoiseAware to train on"
            )


def _config(**settings: object) -> TrainConfig:
    try:
        return make_config(**settings)
    except CimsimError as error:
        raise CimsimError(f"NoiseAware: {error}") from None


def _count(name: str, value: object, example: str) -> int:
    """Return ``value`` as an ``int`` of 1 or more.

    Raises:
        CimsimError: if it is none.
    """
    try:
        number = int(operator.index(value))  # type: ignore[arg-type]
    except TypeError:
        number = 0
    if number < 1:
        raise CimsimError(
            f"NoiseAware: {name} must be a whole number of 1 or more, {example}, not {value!r}"
        )
    return number


def _first(batches: Batches | None, count: int) -> list[Any]:
    """Return the first ``count`` batches; the random state is restored.

    Raises:
        CimsimError: if there is none, or ``batches`` is not iterable.
    """
    count = _count("calibration_batches", count, "such as 8")
    if batches is None:
        return []
    before = torch.get_rng_state()  # a data loader draws from it
    try:
        first = list(islice(each_batch(batches, "NoiseAware: calibration"), count))
    finally:
        torch.set_rng_state(before)
    if not first:
        raise CimsimError(
            "NoiseAware: calibration has no batches (an iterator can be used only once: create a "
            "new one); pass a data loader, or a list of batches"
        )
    return first


def _nonempty(batches: Batches | None) -> Iterator[Any]:
    """Return an iterator over ``batches``.

    Raises:
        CimsimError: if there is none, or it is empty.
    """
    if batches is None:
        raise CimsimError(
            "NoiseAware.finish: the model keeps running statistics, which have to be measured "
            "under noise; pass batches of training inputs: finish(loader)"
        )
    iterator = iter(each_batch(batches, "NoiseAware.finish"))
    for first in iterator:
        return chain([first], iterator)
    raise CimsimError(
        "NoiseAware.finish: got no batches (an iterator can be used only once: create a new one)"
    )


def _checked(state: object, average: list[Tensor]) -> tuple[int, list[Tensor]]:
    """Return position and averages of a saved state.

    Raises:
        CimsimError: if it is not a state of ``NoiseAware`` for a model of these averages.
    """
    keys = {"step", "average", "settings"}
    if not (isinstance(state, Mapping) and keys <= set(state)):
        raise CimsimError(
            "NoiseAware.load_state_dict: this state was not returned by NoiseAware.state_dict()"
        )
    step, saved = state["step"], state["average"]
    if type(step) is not int or step < 0 or not isinstance(state["settings"], Mapping):
        raise CimsimError(f"NoiseAware.load_state_dict: the state is damaged, its step is {step!r}")
    if len(saved) != len(average):
        raise CimsimError(
            f"NoiseAware.load_state_dict: the state has averages of {len(saved)} tensors, and this "
            f"NoiseAware of {len(average)}; use the same average= and the same model"
        )
    try:
        check_state(dict(enumerate(average)), dict(enumerate(saved)), "average ")
    except ValueError as error:
        raise CimsimError(
            f"NoiseAware.load_state_dict: the state belongs to another model: {error}"
        ) from None
    return step, saved
