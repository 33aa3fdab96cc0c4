"""Subjects of analysis: models with analog layers, and how well each does on a chip.

Every sweep and study works on a :class:`Subject`. :class:`ModelSubject` wraps any converted model
with a scoring function; :class:`cimsim.runs.RunSubject` wraps a finished training run.
"""

from __future__ import annotations

import hashlib
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

import cimsim
from cimsim.analysis.labeled import LabeledBatches, fingerprint_of, repeatable
from cimsim.analysis.memory_place import MemoryPlace
from cimsim.analysis.scoring import (
    Labeled,
    ScoreError,
    ScoreFunction,
    call_score,
    require_finite,
)
from cimsim.analysis.sweeps.metric import ACCURACY, TEST, Scores
from cimsim.errors import CimsimError, CimsimWarning
from cimsim.folders import named_folder
from cimsim.layer_options import parse_layers
from cimsim.nn import (
    AnalogLayer,
    Assignment,
    Signals,
    analog_layers,
    digital,
    measure_signals,
    profiles,
    set_profile,
)
from cimsim.nn.convert import copied
from cimsim.nn.forms import require_weights
from cimsim.nn.registry import analog_kind
from cimsim.nn.scoring import evaluate_batches
from cimsim.profile import Profile, learned_ranges, with_ranges_of_network

SIGNAL_SAMPLES = 1000
"""Test samples that are enough for powers and shares of signals."""


class Place(Protocol):
    """Where another process finds a subject: hashable, and small to send."""

    def open(self) -> Subject:
        """Make the subject there."""


class Subject(ABC):
    """A model with analog layers that can be scored.

    Attributes:
        name: name in tables and figures.
        folder: folder that results are kept in; None keeps them in memory.
        argument: its name on the command line, where that is not the folder.
        split: the samples that it is scored on.
        repeats: whether a model always has the same scores on the same chip.
    """

    name: str
    folder: Path | None = None
    argument: str | None = None
    split: str = TEST
    repeats: bool = False

    @property
    def home(self) -> Path | None:
        """Folder that it is named after in tables and figures."""
        return self.folder

    @property
    def data(self) -> str:
        """Name of the test data."""
        return ""

    @property
    def token(self) -> str:
        """Unit of text that the model predicts, such as ``character``; empty for others."""
        return ""

    @property
    def metric(self) -> str:
        """Name of the metric that is shown by default."""
        return ACCURACY.name

    @property
    def device(self) -> torch.device | None:
        """Device of the model; None if it may be evaluated on any."""
        return None

    @property
    def test_samples(self) -> int | None:
        """Number of test samples; None if it is not known."""
        return None

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Hash of the model's weights, and of its modules with their settings."""

    @property
    @abstractmethod
    def data_fingerprint(self) -> str:
        """Hash of the test data, or a text that names them."""

    @property
    def calibration_fingerprint(self) -> str:
        """Hash of the training inputs that set the converters' ranges; empty if results in a folder
        are never of others."""
        return ""

    @property
    @abstractmethod
    def assignment(self) -> Assignment:
        """Profiles of the model's layers."""

    @abstractmethod
    def skeleton(self) -> nn.Module:
        """Return a model with the same layers that may be changed; its weights do not matter."""

    @abstractmethod
    def model(
        self, assignment: Assignment | None = None, device: torch.device | str = "cpu"
    ) -> nn.Module:
        """Return a separate model in evaluation mode, calibrated, on ``assignment``.

        Raises:
            CimsimError: if a layer does not fit its profile, or there is no data to calibrate with.
        """

    def check_chips(self) -> None:  # noqa: B027
        """Check that the model can be evaluated on every chip; by default, it can.

        Raises:
            CimsimError: if it cannot.
        """

    @abstractmethod
    def score(self, model: nn.Module, samples: int | None = None) -> Scores:
        """Score ``model``, a result of :meth:`model`, on its programmed chip.

        Uses the first ``samples`` of the test data, or all.
        """

    def digital_scores(
        self, samples: int | None = None, device: torch.device | str = "cpu"
    ) -> Scores:
        """Score the model without any non-ideality."""
        if samples not in self._digital:
            model = self._uncalibrated(device)
            with digital(model):
                self._digital[samples] = dict(self.score(model, samples))
        return self._digital[samples]

    def chip_seed(self, number: int) -> int:
        """Return the seed of chip ``number``, which :func:`cimsim.program` takes."""
        return number

    def _uncalibrated(self, device: torch.device | str) -> nn.Module:
        """A separate model to compute digitally, which needs no ranges."""
        return self.model(device=device)

    def inputs(self, count: int, device: torch.device | str = "cpu") -> Any:
        """Return a batch of at most ``count`` test inputs.

        Raises:
            CimsimError: if the subject has no inputs.
        """
        raise CimsimError(
            f"{self.name} has no test inputs; pass a batch of them, ModelSubject(…, inputs=batch)"
        )

    def calibration(self, device: torch.device | str = "cpu") -> list[Any]:
        """Return training inputs that set the converters' ranges; empty if there are none."""
        return []

    @property
    def calibration_advice(self) -> str:
        """What to do if there are no training inputs, for errors."""
        if self.argument is None:
            return "pass some training inputs as calibration=…"
        return f"let {self.argument} return ModelSubject(model, score, calibration=training_inputs)"

    def training(self, count: int, device: torch.device | str = "cpu") -> list[Any]:
        """Return at most ``count`` batches of training data, with labels if there are any."""
        return self.calibration(device)[:count]

    def signals(
        self,
        model: nn.Module,
        chips: Iterable[int],
        age_s: float,
        samples: int | None = None,
    ) -> dict[str, Signals]:
        """Measure each layer's signals on ``chips``; see :func:`cimsim.nn.measure_signals`."""
        seeds = map(self.chip_seed, chips)
        return measure_signals(
            model, [None], seeds, age_s, lambda model, _: self.score(model, samples)
        )

    def place(self) -> Place:
        """Return where another process finds this subject.

        Raises:
            CimsimError: if it cannot be sent there.
        """
        raise CimsimError(f"{self.name} cannot be sent to other processes; leave workers out")

    def keep_in(self, folder: Path) -> None:
        """Keep results in ``folder`` from now on.

        Raises:
            CimsimError: if they are kept in a folder already, or its data have no name.
        """
        if self.folder is not None:
            raise CimsimError(
                f"{self.name} keeps its results in {self.folder} already; use no other folder"
            )
        self.folder = folder

    def convert_call(
        self, layers: Mapping[str, Mapping[str, Any]], on: Assignment | None = None
    ) -> str:
        """The call of :func:`cimsim.convert` that puts the model on ``on`` (None: its own profiles)
        with other settings for ``layers``."""
        assigned = on or self.assignment
        own = {name: _settings_of(each, assigned.profile) for name, each in assigned.layers}
        kept = [name for name in self.digital_layers if name not in own]
        profile = profile_call(assigned.profile.name, assigned.profile.overrides)
        return convert_call(profile, merged_settings(own, layers), kept)

    @cached_property
    def layers(self) -> tuple[str, ...]:
        """Names of the analog layers."""
        return tuple(analog_layers(self.skeleton()))

    @cached_property
    def digital_layers(self) -> tuple[str, ...]:
        """Names of the layers that can be analog, but are kept digital."""
        modules = self.skeleton().named_modules()
        return tuple(name for name, module in modules if analog_kind(module) is not None)

    @cached_property
    def memory(self) -> dict[str, dict[Any, Any]]:
        """Finished trials by axis, of a subject without a folder."""
        return {}

    @cached_property
    def _digital(self) -> dict[int | None, Scores]:
        return {}


class ModelSubject(Subject):
    """A converted model and a function that scores it.

    The model itself is never changed: every evaluation works on a copy.

    >>> net = cimsim.convert(nn.Linear(4, 2), "ideal")
    >>> subject = ModelSubject(net, lambda model: float(model(torch.ones(1, 4)).sum()))
    >>> subject.layers, sorted(subject.digital_scores())
    (('',), ['score'])
    """

    def __init__(
        self,
        model: nn.Module,
        score: ScoreFunction | Labeled,
        *,
        inputs: Any = None,
        calibration: Iterable[Any] = (),
        metric: str | None = None,
        name: str | None = None,
        folder: Path | str | None = None,
        data: str = "",
    ) -> None:
        """
        Args:
            model: converted model; calibrated unless ``calibration`` is given.
            score: function of a model that returns a number, or several by name; or batches of
                ``(inputs, labels)``, such as a data loader, whose accuracy and loss are taken.
            inputs: batch of test inputs in any form that :func:`cimsim.calibrate` accepts, for
                costs; by default the inputs of the first batch of ``score``.
            calibration: training inputs for converters whose ranges have to be measured again.
            metric: name of the metric shown by default, ``name:min`` if lower is better; otherwise
                the first number of ``score``.
            name: name in tables and figures; the model's class by default.
            folder: folder to keep results in; in memory by default.
            data: text that names the test data and the way of scoring. With ``folder``, a scoring
                function needs it, since results in a folder are used again while this text stays
                the same; batches have a fingerprint instead.

        Raises:
            CimsimError: if no layer is analog, ``score`` is something else, or ``folder`` is given
                for a function without ``data``.
        """
        analog_layers(model)
        require_weights(model)
        self._model, self._inputs = model, inputs
        self._scored: tuple[str, ...] = ()
        self._batches = None if callable(score) else LabeledBatches(score)
        self._function: ScoreFunction | None = score if callable(score) else None
        self._calibration = repeatable(calibration)
        self.name = name or type(model).__name__
        self._data, self._metric = data, metric
        if folder is not None:
            self.keep_in(named_folder(folder))

    def keep_in(self, folder: Path) -> None:
        """See :class:`Subject`."""
        if self._function is not None and not self._data:
            raise CimsimError(
                f"results of {self.name} are kept in the folder {folder}; pass data='…', a text "
                "that describes the test data and the score, because stored results are "
                "reused only if this text is the same: ModelSubject(model, score, data='…'), or "
                "data='…' in the call"
            )
        super().keep_in(folder)

    @property
    def data(self) -> str:
        """See :class:`Subject`."""
        return self._data or (self._batches.name if self._batches else "test data")

    @property
    def device(self) -> torch.device | None:
        """See :class:`Subject`."""
        return next((p.device for p in self._model.parameters()), None)

    @property
    def metric(self) -> str:
        """See :class:`Subject`."""
        return self._metric or next(iter(self.digital_scores()))

    @property
    def test_samples(self) -> int | None:
        """See :class:`Subject`."""
        return None if self._batches is None else self._batches.samples

    @cached_property
    def fingerprint(self) -> str:
        """See :class:`Subject`."""
        digest = hashlib.sha256()
        for name, module in self._model.named_modules():
            digest.update(f"{name}: {type(module).__qualname__}({_settings_in(module)})\n".encode())
        for key, value in self._model.state_dict().items():
            digest.update(key.encode())
            if isinstance(value, Tensor):
                numbers = value.detach().cpu().contiguous().flatten()
                digest.update(numbers.view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    @property
    def data_fingerprint(self) -> str:
        """See :class:`Subject`."""
        if self.folder is None or self._data or self._batches is None:
            return self._data
        return self._batches.fingerprint

    @cached_property
    def calibration_fingerprint(self) -> str:
        """See :class:`Subject`."""
        return "" if self.folder is None else fingerprint_of(self._calibration)

    @property
    def assignment(self) -> Assignment:
        """See :class:`Subject`."""
        return profiles(self._model)

    def skeleton(self) -> nn.Module:
        """See :class:`Subject`."""
        return self._copied()

    def model(
        self, assignment: Assignment | None = None, device: torch.device | str = "cpu"
    ) -> nn.Module:
        """See :class:`Subject`."""
        model = self._uncalibrated(device)
        if assignment is not None:
            set_profile(model, assignment)
        uncalibrated = [n for n, layer in analog_layers(model).items() if not layer.calibrated]
        if not uncalibrated:
            return model
        if not self._calibration:
            name = uncalibrated[0]
            if analog_layers(self._model)[name].calibrated:
                raise CimsimError(
                    f"layer '{name}' of {self.name} needs new converter ranges on this profile; "
                    f"{self.calibration_advice}"
                )
            raise CimsimError(
                f"layer '{name}' of {self.name} is not calibrated; call "
                "cimsim.calibrate(model, batches) first, with some training inputs"
            )
        return cimsim.calibrate(model, self._calibration, missing=True)

    def check_chips(self) -> None:
        """Warn of corrections that fit one chip only.

        Raises:
            CimsimError: if the model does not use simulated chips.
        """
        layers = analog_layers(self._model)
        if any(layer.own_chip is not None for layer in layers.values()):
            raise CimsimError(
                f"{self.name} multiplies with your own chip, on which profiles, noise and ages "
                "have no effect; to evaluate simulated chips, call cimsim.nn.use_chip(model, None)"
            )
        if any(layer.fits_one_chip for layer in layers.values()):
            warnings.warn(
                f"{self.name} was adapted to one chip, and its corrections do not fit the chips on "
                "which it is evaluated; to adapt to each chip, call cimsim.recovery with the model "
                "as it was trained",
                CimsimWarning,
                stacklevel=4,
            )

    def _uncalibrated(self, device: torch.device | str) -> nn.Module:
        return self._copied().to(device).eval()

    def _copied(self) -> nn.Module:
        return copied(self._model, "each trial uses a copy, so remove what cannot be copied")

    def score(self, model: nn.Module, samples: int | None = None) -> Scores:
        """See :class:`Subject`."""
        if self._function is None:
            assert self._batches is not None
            if samples is not None:
                self._batches.require_order("the first samples are evaluated")
            return evaluate_batches(model, self._batches.first(samples))._asdict()
        if samples is not None:
            raise CimsimError(
                f"{self.name} is scored by a function, which determines how many samples it "
                "uses; leave samples out"
            )
        scores = call_score(self._function, model)
        self._scored = self._scored or tuple(scores)
        if set(scores) != set(self._scored):
            raise ScoreError(
                f"the scoring function returned {', '.join(self._scored)} before, and "
                f"{', '.join(scores)} now; it must return the same names for each chip"
            )
        return scores

    def digital_scores(
        self, samples: int | None = None, device: torch.device | str = "cpu"
    ) -> Scores:
        """See :class:`Subject`."""
        try:
            scores = super().digital_scores(samples, device)
            require_finite(scores)
        except ScoreError as error:
            raise CimsimError(f"{self.name}: {error} (without the chip)") from error.__cause__
        return scores

    def inputs(self, count: int, device: torch.device | str = "cpu") -> Any:
        """See :class:`Subject`."""
        batch: Any = self._inputs
        if batch is None and self._batches is not None:
            batch = next((inputs for inputs, *_ in self._batches), None)
        if isinstance(batch, Mapping) and any(isinstance(x, Tensor) for x in batch.values()):
            return {k: _first(x, count, device) for k, x in batch.items()}
        return super().inputs(count, device) if batch is None else _first(batch, count, device)

    def calibration(self, device: torch.device | str = "cpu") -> list[Any]:
        """See :class:`Subject`."""
        return [x.to(device) if isinstance(x, Tensor) else x for x in self._calibration]

    def signals(
        self,
        model: nn.Module,
        chips: Iterable[int],
        age_s: float,
        samples: int | None = None,
    ) -> dict[str, Signals]:
        """See :class:`Subject`."""
        if self._batches is None:
            return super().signals(model, chips, age_s, samples)
        few = list(self._batches.first(samples or SIGNAL_SAMPLES, whole=True))
        return measure_signals(model, few, map(self.chip_seed, chips), age_s)

    def place(self) -> MemoryPlace:
        """See :class:`Subject`."""
        if self._batches is not None and self._function is None:
            self._batches.require_order("each worker would evaluate others")
        return self._place

    @cached_property
    def _place(self) -> MemoryPlace:
        return MemoryPlace.of(self)

    def __getstate__(self) -> dict[str, Any]:
        """What another process needs; results that are kept here are not sent."""
        kept = ("memory", "_digital", "_place")
        return {name: value for name, value in vars(self).items() if name not in kept}


def _first(entry: Any, count: int, device: torch.device | str) -> Any:
    """The first ``count`` samples of an entry of a batch; other objects stay as they are."""
    return entry[:count].to(device) if isinstance(entry, Tensor) and entry.dim() else entry


def merged_settings(
    own: Mapping[str, Mapping[str, Any]], layers: Mapping[str, Mapping[str, Any]]
) -> dict[str, Mapping[str, Any]]:
    """Settings ``own`` of layers, changed by ``layers``; a digital layer has no others."""
    merged = dict(own)
    for name, settings in layers.items():
        before = merged.pop(name, {})
        merged[name] = settings if "digital" in settings else {**before, **settings}
    return merged


def _settings_of(profile: Profile | None, common: Profile) -> dict[str, Any]:
    """Settings of a layer that put it on ``profile`` if all others are on ``common``."""
    if profile is None:
        return {"digital": True}
    words = [text for text in profile.overrides if text not in common.overrides]
    if profile.name != common.name or not words or not {*common.overrides} <= {*profile.overrides}:
        words = [f"profile={profile.name}", *profile.overrides]
    return parse_layers([f"*:{','.join(words)}"])["*"]


def profile_call(name: str, overrides: Iterable[str]) -> str:
    """An expression for the profile of that name with ``overrides``, as an argument of
    :func:`cimsim.convert`."""
    texts = list(overrides)
    return f"cimsim.load_profile({name!r}, {texts!r})" if texts else repr(name)


def convert_call(
    profile: str, layers: Mapping[str, Mapping[str, Any]], keep_digital: Iterable[str] = ()
) -> str:
    """A call of :func:`cimsim.convert` in Python; ``profile`` is an expression."""
    lines = [f"    {name!r}: {dict(settings)!r}," for name, settings in layers.items()]
    names = list(keep_digital)
    kept = f", keep_digital={names!r}" if names else ""
    first = f"model = cimsim.convert(model, {profile}{kept}, layers={{"
    return "\n".join([first, *lines, "})"])


def _settings_in(module: nn.Module) -> str:
    """Settings of a module in words, without profile and rule of an analog layer."""
    shown = module.torch_class if isinstance(module, AnalogLayer) else type(module)
    return str(shown.extra_repr(module))


def assignment_on(subject: Subject, profile: Profile | Assignment | None) -> Assignment:
    """Return the profiles of the layers of ``subject``, or ``profile`` for all of them.

    Ranges that were learned with the weights stay learned on another profile, unless it fixes them.
    """
    own = subject.assignment
    if profile is None:
        return own
    learned = sorted({name for each in own.profiles for name in learned_ranges(each)})
    other = profile if isinstance(profile, Assignment) else Assignment(profile)
    return other.map(lambda each: with_ranges_of_network(each, learned))
