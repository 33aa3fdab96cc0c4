"""A trained model, whose layers are tried out on other devices: a run, or any converted model."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor, nn

import cimsim
from cimsim.analysis.levels import Axis, Level
from cimsim.analysis.metric import Metric, metric_named
from cimsim.analysis.study import Evaluation, scores
from cimsim.analysis.sweep import Progress
from cimsim.errors import CimsimError
from cimsim.nn import Assignment, Signals, analog_layers, devices, measure_signals, set_profile
from cimsim.training.evaluate import evaluate_batches
from cimsim.training.run import Run

_SIGNAL_SAMPLES = 1000  # are enough for powers and shares
_BATCH = 125


def silent(done: int, total: int, doing: str) -> None:
    """A :data:`Progress` that tells nobody."""


@dataclass(frozen=True)
class AssignmentsAxis(Axis):
    """Assignments of devices to layers, by name."""

    assignments: Mapping[str, Assignment] = field(default_factory=dict)

    def assign(self, devices: Assignment, level: Level) -> Assignment:
        """The assignment of that name, whatever ``devices`` are."""
        return self.assignments[str(level)]


class Subject(ABC):
    """A trained model, the devices its layers are on, and how well it does on others.

    Attributes:
        name: what it is called.
        devices: what its layers are on, with their noise as it is asked for.
        layers: names of its analog layers.
        metric: what tells how well it does.
        age_s: age of the chips in seconds.
        noise: factor on every noise of the devices.
        samples: how many test samples are looked at; None for all.
        token: what a text consists of, empty for anything else.
    """

    name: str
    devices: Assignment
    layers: tuple[str, ...]
    metric: Metric
    age_s: float
    noise: float
    samples: int | None = None
    token: str = ""

    @abstractmethod
    def scores(
        self, wanted: Mapping[str, Assignment], chips: range, axis: str
    ) -> dict[str, list[float]]:
        """The metric on each of ``chips``, under each assignment; ``axis`` names what for."""

    @abstractmethod
    def model(self) -> nn.Module:
        """The model on :attr:`devices`, to look at."""

    @abstractmethod
    def batches(self) -> Iterable[Tensor | tuple[Tensor, ...]]:
        """Test inputs for the model, some of them."""

    def signals(self, model: nn.Module, chips: range) -> dict[str, Signals]:
        """See :func:`cimsim.nn.measure_signals`."""
        return measure_signals(model, self.batches(), chips, self.age_s)


class RunSubject(Subject):
    """A finished run; what it scores is kept cell by cell in its folder."""

    def __init__(self, run: Run, evaluation: Evaluation = Evaluation()) -> None:  # noqa: B008
        """On the devices that ``evaluation`` says; how many chips is asked for with each score.

        Raises:
            CimsimError: if data is missing, or there is no such metric.
        """
        self.metric = evaluation.metric_of(run)
        self.run, self.name, self._evaluation = run, run.name, evaluation
        self.devices = evaluation.devices(run)
        self.layers = tuple(analog_layers(run.new_model()))
        self.token = run.data.token
        self.age_s, self.noise = evaluation.age_s, evaluation.noise
        self.samples = evaluation.samples

    def scores(
        self, wanted: Mapping[str, Assignment], chips: range, axis: str
    ) -> dict[str, list[float]]:
        """See :class:`Subject`."""
        asked = replace(self._evaluation, chips=len(chips), first_chip=chips.start)
        found = asked.sweep(self.run, AssignmentsAxis(axis, tuple(wanted), wanted))
        return {str(level): values for level, values in scores(found).items()}

    def model(self) -> nn.Module:
        """See :class:`Subject`."""
        return self.run.chip_model(self.devices, self._evaluation.device)

    def batches(self) -> Iterable[Tensor]:
        """See :class:`Subject`."""
        count = min(self.samples or _SIGNAL_SAMPLES, _SIGNAL_SAMPLES)
        inputs = self.run.data.test_x[:count].to(self._evaluation.device)
        return list(inputs.split(self.run.data.batch_size or _BATCH))


class ModelSubject(Subject):
    """Any converted and calibrated model, with batches of test inputs and labels.

    The model itself stays as it is. Nothing is kept on disk.
    """

    def __init__(
        self,
        model: nn.Module,
        batches: Iterable[tuple[Any, Tensor]],
        *,
        calibration: Iterable[Tensor] = (),
        age_s: float = 0.0,
        noise: float = 1.0,
        metric: str = "accuracy",
        progress: Progress = silent,
    ) -> None:
        """
        Args:
            model: converted and calibrated.
            batches: pairs of test inputs, as :mod:`cimsim.nn.batches` reads them, and labels; gone
                through for each chip.
            calibration: training inputs, where converters are to be tried out that want new ranges.
            age_s: age of the chips in seconds.
            noise: factor on every noise of the devices.
            metric: see :mod:`cimsim.analysis.metric`.
            progress: told after every evaluated chip.

        Raises:
            CimsimError: if no layer is analog, or there is no such metric.
        """
        self._model, self._batches = model, _again(batches)
        self._calibration, self._progress = _again(calibration), progress
        self.name = type(model).__name__
        self.layers = tuple(analog_layers(model))
        self.devices = devices(model).map(lambda profile: profile.scale_noise(noise))
        self.metric = metric_named(metric)
        self.age_s, self.noise = age_s, noise

    def scores(
        self, wanted: Mapping[str, Assignment], chips: range, axis: str
    ) -> dict[str, list[float]]:
        """See :class:`Subject`."""
        found: dict[str, list[float]] = {name: [] for name in wanted}
        done = 0
        for name, assignment in wanted.items():
            model = self._on(assignment)
            for chip in chips:
                cimsim.age(cimsim.program(model, chip), self.age_s)
                found[name].append(self.metric.of(*evaluate_batches(model, self._batches)))
                done += 1
                self._progress(done, len(wanted) * len(chips), f"{self.name}, {axis}={name}")
        return found

    def model(self) -> nn.Module:
        """See :class:`Subject`."""
        return self._on(self.devices)

    def _on(self, assignment: Assignment) -> nn.Module:
        """A copy of the model on other devices."""
        model = set_profile(copy.deepcopy(self._model), assignment).eval()
        uncalibrated = [n for n, layer in analog_layers(model).items() if not layer.calibrated]
        if uncalibrated and not self._calibration:
            raise CimsimError(
                f"layer '{uncalibrated[0]}' wants new converter ranges there; give some training "
                "inputs as calibration"
            )
        return cimsim.calibrate(model, self._calibration, missing=True)

    def batches(self) -> Iterable[tuple[Any, Tensor]]:
        """See :class:`Subject`."""
        seen = 0
        for inputs, labels in self._batches:
            if seen >= _SIGNAL_SAMPLES:
                return
            seen += len(labels)
            yield inputs, labels

    def signals(self, model: nn.Module, chips: range) -> dict[str, Signals]:
        """See :class:`Subject`."""
        return measure_signals(model, list(self.batches()), chips, self.age_s)


def _again(batches: Iterable) -> Iterable:  # type: ignore[type-arg]
    """``batches`` that can be gone through again and again."""
    return list(batches) if iter(batches) is batches else batches
