"""What the page shows, as functions of the positions of its controls.

The numbers are the same as those of ``cimsim sweep``, ``cimsim cost`` and ``cimsim sensitivity``,
computed by the same functions. Each is cached; nothing is written to a run's folder.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

import cimsim
from cimsim.analysis.cost import cost_of, workload_of
from cimsim.analysis.cost.result import Cost
from cimsim.analysis.evaluation import Evaluation
from cimsim.analysis.labels import layer_name
from cimsim.analysis.subjects import Subject, assignment_on
from cimsim.analysis.sweeps.axis import Axis
from cimsim.analysis.sweeps.result import SweepResult
from cimsim.analysis.sweeps.stats import summaries
from cimsim.analysis.sweeps.sweep import sweep
from cimsim.app.calibrated import CalibratedSubject
from cimsim.app.commands import commands
from cimsim.app.results import Accuracy, LayerSignals, Weights
from cimsim.app.setting import IDEAL, OWN, Setting
from cimsim.errors import CimsimError
from cimsim.nn import Assignment, analog_layers
from cimsim.profile import Profile, load_profile, override_profile
from cimsim.profile.library import profile_names
from cimsim.suggest import unknown

Result = TypeVar("Result")

NOISE_MAX = 4.0
LEVELS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, NOISE_MAX)
"""Factors on the noise that the curve always has."""

CHIPS, CHIPS_MAX = 5, 20
SAMPLES = (50, 100, 200, 500, 1000, 2000, 5000, 10_000)
"""Numbers of test samples to choose from, besides all."""

_COST_INPUTS = 16  # the default of cimsim cost
_KEPT = 64
_POINT_S = 1.0  # time for one position of the controls on all chips


def unchecked() -> None:
    """A check that never stops a computation."""


class Session:
    """Networks and profiles, and everything that was computed of them.

    Attributes:
        subjects: the networks by name.
        profiles: what a profile is loaded from, by its name on the page.
    """

    def __init__(self, subjects: Sequence[Subject], profile: str = OWN) -> None:
        """
        Args:
            subjects: trained networks, at least one; their results are kept here from now on.
            profile: the profile at the start: a name or a file; by default each network's own.

        Raises:
            CimsimError: if the profile does not exist or is invalid.
        """
        self.subjects = _by_name(subjects)
        self.profiles = {name: name for name in profile_names()}
        self._loaded: dict[str, Profile] = {}
        self._kept: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
        self._finished: dict[Setting, set[float]] = {}
        self._start = OWN
        if profile != OWN:
            loaded = load_profile(profile)
            name = loaded.name
            if name in self.profiles and profile != name:  # a file with the name of a shipped one
                name = str(Path(profile))
            self.profiles[name], self._loaded[name] = profile, loaded
            self._start = name

    def start(self) -> Setting:
        """The positions of the controls at the start."""
        first = next(iter(self.subjects))
        return Setting(first, self._start, layer=self.layers(first)[0])

    def subject(self, network: str) -> CalibratedSubject:
        """The network of that name.

        Raises:
            CimsimError: if there is none.
        """
        if network not in self.subjects:
            raise CimsimError(unknown("network", network, self.subjects))
        return self.subjects[network]

    def layers(self, network: str) -> tuple[str, ...]:
        """Names of the layers of a network that are on a chip."""
        subject = self.subject(network)
        return tuple(n for n in subject.layers if subject.assignment.on(n) is not None)

    def own_profile(self, network: str) -> str:
        """Name of the profile that a network was trained for."""
        return self.subject(network).assignment.name

    def title(self, setting: Setting) -> str:
        """Network and profile in words."""
        return f"{setting.network} on {setting.profile or self.own_profile(setting.network)}"

    def bits(self, setting: Setting) -> tuple[str, str]:
        """The bits of ADC and DAC of the profile, as text, without the changes of the controls."""
        profile = self._base(setting).profile
        adc, dac = (str(x.bits) if x.bits else IDEAL for x in (profile.adc, profile.dac))
        return adc, dac

    def assignment(self, setting: Setting) -> Assignment:
        """The profiles of the layers, with changed bits, at the profile's own noise.

        Raises:
            CimsimError: if a profile rejects the bits.
        """
        base, changes = self._base(setting), setting.overrides
        return base.map(lambda profile: override_profile(profile, changes))

    def suggested(self, setting: Setting) -> Setting:
        """``setting`` with as many test samples as can be evaluated on its chips in a short time on
        this machine, which is measured; with fewer chips if even the fewest samples take longer."""
        chips, samples = self._once(("suggested", setting.network), lambda: self._measured(setting))
        return replace(setting, chips=chips, samples=samples)

    def _measured(self, setting: Setting) -> tuple[int, int | None]:
        """The suggested numbers of chips and samples."""
        available = self.subject(setting.network).test_samples
        if available is None:
            return setting.chips, None
        numbers = [*(n for n in SAMPLES if n < available), None]
        with suppress(CimsimError):  # libraries that the first calibration loads
            self.subject(setting.network).model(self.assignment(replace(setting, adc_bits="7")))
        self._seconds_of_chip(setting, numbers[0], first_chip=CHIPS_MAX)
        chosen, seconds = numbers[0], 0.0
        for samples in numbers:
            measured = self._seconds_of_chip(setting, samples, first_chip=CHIPS_MAX + 1)
            if measured * setting.chips > _POINT_S and seconds:
                break
            chosen, seconds = samples, measured
        return max(1, min(setting.chips, int(_POINT_S / max(seconds, 1e-9)))), chosen

    def _seconds_of_chip(self, setting: Setting, samples: int | None, first_chip: int) -> float:
        """Time of one trial, on a chip that the page does not use."""
        evaluation = self._evaluation(replace(setting, chips=1, samples=samples), unchecked)
        evaluation = replace(evaluation, first_chip=first_chip)
        subject = self.subject(setting.network)
        subject.digital_scores(samples)  # once for all positions
        before = time.perf_counter()
        sweep([subject], _noise((1.0,)), evaluation)
        return time.perf_counter() - before

    def sweep(
        self,
        setting: Setting,
        levels: Sequence[float] = (),
        check: Callable[[], None] = unchecked,
    ) -> SweepResult:
        """Evaluate the network at ``levels`` of noise, by default at the current one.

        Args:
            setting: the positions of the controls.
            levels: factors on the noise.
            check: called after each trial; an exception that it raises ends the evaluation, and
                finished trials are kept.

        Raises:
            CimsimError: if the profile does not fit the network, or its data is missing.
        """
        subject = self.subject(setting.network)
        levels = levels or (setting.noise,)
        axis = _noise(levels)
        swept = sweep([subject], axis, self._evaluation(setting, check))
        self._finished.setdefault(_without_noise(setting), set()).update(levels)
        return SweepResult((subject.name,), tuple(swept))

    def levels(self, setting: Setting) -> list[float]:
        """The levels of the curve: the usual ones, and the current one."""
        return sorted({*LEVELS, setting.noise})

    def finished(self, setting: Setting) -> list[float]:
        """Those of :meth:`levels` that are evaluated already."""
        done = self._finished.get(_without_noise(setting), set())
        return [level for level in self.levels(setting) if level in done]

    def accuracy(self, setting: Setting, check: Callable[[], None] = unchecked) -> Accuracy:
        """The metric on the chips, see :meth:`sweep`."""
        (swept,) = self.sweep(setting, (), check).sweeps
        metric, available = swept.plan.measured, self.subject(setting.network).test_samples
        (point,) = summaries(swept.trials, metric)
        used = available if setting.samples is None else setting.samples
        if available is not None and used is not None:
            used = min(used, available)
        return Accuracy(point, metric, swept.plan.digital, used, available)

    def cost(self, setting: Setting) -> Cost:
        """Energy, latency and area of one inference, which depend on neither noise nor age."""
        subject = self.subject(setting.network)

        def compute() -> Cost:
            model = subject.model(self.assignment(setting))
            return cost_of(workload_of(model, subject.inputs(_COST_INPUTS)))

        return self._once(("cost", setting.network, setting.profile, setting.overrides), compute)

    def signals(self, setting: Setting) -> LayerSignals:
        """The signal-to-noise ratio of each layer on the chips."""
        subject, chips = self.subject(setting.network), range(setting.chips)

        def compute() -> LayerSignals:
            model, samples = self._model(setting), setting.samples
            return LayerSignals.of(subject.signals(model, chips, setting.age_s, samples))

        return self._once(("signals", replace(setting, chip=0, layer="")), compute)

    def weights(self, setting: Setting) -> Weights:
        """The weights of the chosen layer on the chosen chip.

        Raises:
            CimsimError: if no layer has that name, or it computes digitally.
        """

        def compute() -> Weights:
            model = self._model(setting)
            layers = analog_layers(model)
            if setting.layer not in layers:
                raise CimsimError(unknown("layer", setting.layer, layers))
            layer = layers[setting.layer]
            if layer.digital:
                name = layer_name(setting.layer)
                raise CimsimError(f"layer '{name}' computes digitally; choose another layer")
            cimsim.age(cimsim.program(model, setting.chip), setting.age_s)
            return Weights.of(
                setting.layer,
                layer.from_matrix(layer.effective_weight()),
                layer.programmed_weight(),
            )

        return self._once(("weights", replace(setting, chips=0, samples=None)), compute)

    def commands(self, setting: Setting) -> tuple[str, ...]:
        """The command lines that compute the same numbers."""
        subject = self.subject(setting.network)
        network = subject.argument or subject.name
        profile = self.profiles.get(setting.profile, OWN)
        return commands(setting, network, profile, _noise(self.levels(setting)))

    def _base(self, setting: Setting) -> Assignment:
        name = setting.profile
        if name != OWN and name not in self._loaded:
            if name not in self.profiles:
                raise CimsimError(unknown("profile", name, self.profiles))
            self._loaded[name] = load_profile(self.profiles[name])
        return assignment_on(self.subject(setting.network), self._loaded.get(name))

    def _evaluation(self, setting: Setting, check: Callable[[], None]) -> Evaluation:
        return Evaluation(
            chips=setting.chips,
            samples=setting.samples,
            age_s=setting.age_s,
            profile=self.assignment(setting),
            progress=lambda *_: check(),
        )

    def _model(self, setting: Setting) -> nn.Module:
        """The network on its chips' profile; the last one is kept, since several results use it."""
        scaled = self.assignment(setting).map(lambda p: p.scale_noise(setting.noise))
        subject = self.subject(setting.network)
        return self._once(("model", setting.network, scaled), lambda: subject.model(scaled))

    def _once(self, key: tuple[Any, ...], compute: Callable[[], Result]) -> Result:
        """The result of ``compute``, which is kept under ``key``; only one model is kept."""
        if key in self._kept:
            self._kept.move_to_end(key)
        else:
            result = compute()
            if key[0] == "model":
                for other in [other for other in self._kept if other[0] == "model"]:
                    del self._kept[other]
            self._kept[key] = result
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        kept: Result = self._kept[key]
        return kept


def _noise(levels: Sequence[float]) -> Axis:
    return Axis("noise", tuple(levels))


def _without_noise(setting: Setting) -> Setting:
    return replace(setting, noise=1.0, chip=0, layer="")


def _by_name(subjects: Sequence[Subject]) -> dict[str, CalibratedSubject]:
    """The networks under different names."""
    if not subjects:
        raise CimsimError("there is no network to show")
    names: dict[str, CalibratedSubject] = {}
    for subject in map(CalibratedSubject, subjects):
        name = subject.name
        if name in names and subject.argument is not None:
            name = subject.argument
        names[name] = subject
    return names
