"""Advice: which layers to keep digital, to give more bits or a better device, and is that enough?

The chip is mixed from what helps most for what it costs, one remedy after the other, until the
model is as near to its digital self as wanted; then every remedy that turns out not to be needed
is taken back. Chips that had no part in that tell whether it is true.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from torch import Tensor, nn

from cimsim.analysis.budget import EVERYTHING, NOTHING
from cimsim.analysis.metric import Metric, metric_named
from cimsim.analysis.sensitivity import Sensitivity, measure
from cimsim.analysis.stats import Summary, summary
from cimsim.analysis.store import ADVICE, sweep_folder
from cimsim.analysis.study import Result, Sheet, read_result
from cimsim.analysis.subject import ModelSubject, Subject, silent
from cimsim.analysis.sweep import Progress
from cimsim.errors import CimsimError
from cimsim.nn import Assignment
from cimsim.profile import Profile, load_profile
from cimsim.training.config import TrainConfig
from cimsim.training.layer_options import Layers, format_layer, parse_layers
from cimsim.units import parse_duration

NAME = "advice"
Kind: TypeAlias = Literal["bits", "better", "digital"]
By: TypeAlias = Literal["products", "parameters"]

PRICES: dict[Kind, float] = {"bits": 0.25, "better": 0.5, "digital": 1.0}
"""What a remedy costs, as a share of what it costs to make the layer digital: assumptions that say
which remedy is tried before which."""

_MOST_BITS = 16
_AS_IT_IS = "all analog, as it is"


@dataclass(frozen=True)
class Remedy:
    """Something that may be done about one layer.

    Attributes:
        layer, kind, settings: which, what, and how :func:`cimsim.convert` is told.
        cost: its price times the layer's share of the model.
        gain: how much better the model is with it, everything else being analog as it was; 0 where
            that is no more than its standard error over chips.
    """

    layer: str
    kind: Kind
    settings: dict[str, Any]
    cost: float
    gain: float = 0.0


@dataclass(frozen=True)
class Step:
    """An assignment that was tried: its remedies, and how much worse than digital it is."""

    layers: Layers
    lost: Summary


@dataclass(frozen=True)
class Asked:
    """What advice was asked for.

    Attributes:
        within: the wanted distance from digital, in the metric.
        bits, better, by: see :func:`advice`.
        chips, age_s, noise, samples: as in :class:`cimsim.analysis.sensitivity.Sensitivity`.
    """

    within: float
    bits: int
    better: str | None
    by: By
    chips: int
    age_s: float
    noise: float
    samples: int | None


@dataclass(frozen=True)
class Advice(Result):
    """A mixed assignment, and whether it does what was asked for.

    Attributes:
        layers: settings of the layers that want others, as :func:`cimsim.convert` takes them.
        cost: what they cost, as a share of making everything digital (see :data:`PRICES`).
        digital_share: the share of the multiplications (or parameters) that is digital then.
        steps: what was tried, in order.
        chosen: how much worse than digital it is on the chips that it was chosen on.
        verified: the same on as many other chips.
        before: how much worse than digital it is on those without any remedy.
    """

    model: str
    device: str
    metric: str
    token: str
    asked: Asked
    layers: Layers
    cost: float
    digital_share: float
    steps: tuple[Step, ...]
    chosen: Summary
    verified: Summary
    before: Summary

    @property
    def measured(self) -> Metric:
        """What was looked at."""
        return metric_named(self.metric, self.token)

    @property
    def found(self) -> bool:
        """Whether an assignment with an analog layer was found, on the chips it was chosen on."""
        return self.chosen.mean <= self.asked.within

    @property
    def holds(self) -> bool:
        """Whether the other chips say so too."""
        return self.found and self.verified.mean <= self.asked.within

    @property
    def options(self) -> list[str]:
        """What to write behind ``--layer``."""
        return [format_layer(name, settings) for name, settings in self.layers.items()]

    @property
    def verdict(self) -> str:
        """The result in words."""
        metric, asked = self.measured, self.asked
        unit = {"%": " points"}.get(metric.unit, f" {metric.unit}".rstrip())
        target = f"{metric.shown(asked.within)}{unit}"
        chosen, measured = (f"{lost.shown(metric)}{unit}" for lost in (self.chosen, self.verified))
        if not self.found:
            return (
                "NOT REACHED: of all assignments that were tried and leave a layer analog, none is "
                f"within {target} of digital; the nearest loses {chosen} on the chips it was "
                f"chosen on, {measured} on others. Train against more noise, or allow a larger "
                "--within."
            )
        if not self.holds:
            return (
                f"NOT CONFIRMED: it is within {target} of digital on the chips it was chosen on, "
                f"and loses {measured} on others; ask for a smaller --within, or choose on more "
                "--chips."
            )
        share = "MACs" if asked.by == "products" else "parameters"
        cost = f"{100 * self.digital_share:.1f} % of the analog layers' {share} become digital"
        sure = self.verified.mean + self.verified.half_width <= asked.within
        unsure = "" if sure else "; the interval is not within, more --chips make it narrower"
        if self.verified.chips == 1:
            unsure = "; one chip has no interval, more --chips give one"
        return f"Reached: {measured} lost on other chips, {target} allowed; {cost}{unsure}."

    def tried(self) -> Iterator[tuple[str, Summary]]:
        """Every assignment in words with its loss, in order; that which was chosen twice at the
        end, on the chips it was chosen on and on others."""
        yield _AS_IT_IS, self.before
        for step in self.steps:
            if step.layers:
                yield _named(step.layers), step.lost
        yield f"chosen: {_named(self.layers)}", self.chosen
        yield "the same on other chips", self.verified

    def derived(self) -> dict[str, Any]:
        """Whether it was found, and holds."""
        return {"found": self.found, "holds": self.holds}

    def table(self) -> Iterator[Sequence[object]]:
        """One row for each assignment, the heading first."""
        yield ["assignment", "chips", "lost", "std", "half_width", "worst"]
        for name, lost in self.tried():
            yield [name, lost.chips, lost.mean, lost.std, lost.half_width, lost.worst]

    def sheet(self) -> Sheet:
        """One row for each assignment."""
        metric = self.measured
        rows = tuple((name, lost.shown(metric)) for name, lost in self.tried())
        return Sheet(f"{metric.title} lost to digital", ("assignment", "lost"), rows, (1,))


def _named(layers: Layers) -> str:
    return " ".join(format_layer(*item) for item in layers.items()) or _AS_IT_IS


class _Search:
    """Mixes an assignment; what it has tried, it knows."""

    def __init__(self, subject: Subject, chips: int, within: float, better: Profile | None) -> None:
        self._subject, self._seeds, self._within = subject, range(chips), within
        self._better = better
        self._remedies: dict[str, list[Remedy]] = {}
        self.steps: list[Step] = []
        self._known: dict[str, Summary] = {}

    def lost(self, layers: Layers) -> Summary:
        """How much worse than digital the model is with these settings of layers."""
        name = self.name(layers)
        if name not in self._known:
            wanted = {NOTHING: self._digital(), name: self.assignment(layers)}
            scores = self._subject.scores(wanted, self._seeds, ADVICE)
            self._known[name] = lost(scores, name, self._subject.metric)
            self.steps.append(Step(layers, self._known[name]))
        return self._known[name]

    def name(self, layers: Layers) -> str:
        """What results with these settings are kept under."""
        if not layers:
            return EVERYTHING
        text = " ".join(format_layer(name, settings) for name, settings in layers.items())
        if self._better is None or not any("profile" in s for s in layers.values()):
            return text
        return f"{text} {hashlib.sha256(self._better.model_dump_json().encode()).hexdigest()[:8]}"

    def assignment(self, layers: Layers) -> Assignment:
        """The devices that these settings mean."""
        given = {
            name: {k: self._better if k == "profile" else v for k, v in settings.items()}
            for name, settings in layers.items()
        }
        return self._subject.devices.changed(self._subject.layers, given)

    def _digital(self) -> Assignment:
        return self._subject.devices.digital(self._subject.layers)

    def near_enough(self, layers: Layers) -> bool:
        """Whether the model with these settings is within the wanted distance, in the mean."""
        return self.lost(layers).mean <= self._within

    def measure(self, offered: Iterable[Remedy]) -> None:
        """Try every remedy alone, all else being as it is, and offer them with their gains."""
        named = {self.name({r.layer: r.settings}): r for r in offered}
        wanted = {name: self.assignment({r.layer: r.settings}) for name, r in named.items()}
        wanted[EVERYTHING] = self._subject.devices
        scores = self._subject.scores(wanted, self._seeds, ADVICE)
        lost = self._subject.metric.lost
        for name, remedy in named.items():
            gain = summary(name, list(map(lost, scores[name], scores[EVERYTHING])))
            by_chance = gain.mean <= gain.standard_error
            measured = replace(remedy, gain=0.0 if by_chance else gain.mean)
            self._remedies.setdefault(remedy.layer, []).append(measured)

    def mix(self, fallback: Mapping[str, float]) -> dict[str, Remedy]:
        """The remedies taken, by layer; ``fallback`` is the loss by each layer alone, which decides
        where nothing helps by itself."""
        taken: dict[str, Remedy] = {}
        tried = [taken]
        while not self.near_enough(_settings(taken)):
            step = self._next(taken, fallback)
            if step is None:  # nothing is enough, so what comes nearest
                return min(tried, key=lambda taken: self.lost(_settings(taken)).mean)
            taken = {**taken, step.layer: step}
            tried.append(taken)
        return self._pruned(taken)

    def _next(self, taken: dict[str, Remedy], fallback: Mapping[str, float]) -> Remedy | None:
        """The remedy that gains most for what it costs beyond what is taken already."""
        still_analog = [n for n in self._remedies if n not in taken or taken[n].kind != "digital"]
        open_now = [
            remedy
            for name, remedies in self._remedies.items()
            for remedy in remedies
            if remedy.cost > (taken[name].cost if name in taken else 0.0)
            and not (remedy.kind == "digital" and still_analog == [name])
        ]

        def worth(remedy: Remedy) -> float:
            before = taken.get(remedy.layer)
            gain, cost = remedy.gain, remedy.cost
            if before is not None:
                gain, cost = gain - before.gain, cost - before.cost
            return gain / cost

        helpful = [remedy for remedy in open_now if worth(remedy) > 0]
        if helpful:
            return max(helpful, key=worth)
        digital = [remedy for remedy in open_now if remedy.kind == "digital"]
        return max(digital, key=lambda r: fallback[r.layer] / r.cost, default=None)

    def _pruned(self, taken: dict[str, Remedy]) -> dict[str, Remedy]:
        """Without what is not needed, the costliest first."""
        for name in sorted(taken, key=lambda name: -taken[name].cost):
            others = {n: remedy for n, remedy in taken.items() if n != name}
            cheaper = [r for r in self._remedies[name] if r.cost < taken[name].cost]
            for fewer in (others, *({**taken, name: r} for r in cheaper)):
                if self.near_enough(_settings(fewer)):
                    taken = fewer
                    break
        return taken


def advice(
    subject: Subject,
    found: Sensitivity,
    *,
    within: float,
    bits: int = 2,
    better: str | None = None,
    by: By = "products",
) -> Advice:
    """A mixed assignment for a run or a model whose layers' sensitivity was ``found``.

    It is chosen on the chips of ``found``, and verified on as many others.

    Args:
        subject: the run or the model.
        found: by :func:`cimsim.analysis.sensitivity.measure` of the same subject.
        within: wanted distance from digital, in the metric (0.01 is one point of accuracy).
        bits: by how many bits a layer's converters may be finer; 0 for not at all.
        better: another device that layers may be put on: a name or a file.
        by: whether a layer's share of the multiplications or of the parameters is its cost.

    Raises:
        CimsimError: if a setting makes no sense or the other device cannot be used.
    """
    if not within >= 0:
        raise CimsimError(f"the distance from digital must be 0 or more, not {within}")
    if bits < 0:
        raise CimsimError(f"bits are added, so their number must be 0 or more, not {bits}")
    other = None if better is None else load_profile(better).scale_noise(subject.noise)
    search = _Search(subject, found.chips, within, other)
    search.measure(_offered(subject, found, bits, better, by))
    taken = search.mix({layer.name: layer.lost.mean for layer in found.layers})
    circumstances = (found.chips, found.age_s, found.noise, found.samples)
    asked = Asked(within, bits, better, by, *circumstances)
    return _verified(subject, found, search, taken, asked)


def _offered(
    subject: Subject, found: Sensitivity, bits: int, better: str | None, by: By
) -> Iterator[Remedy]:
    """What may be done about each layer that is on a chip, the cheapest first; the only one there
    is stays there."""
    on_chip = {name: subject.devices.on(name) for name in subject.layers}
    alone = sum(device is not None for device in on_chip.values()) == 1
    for name, share in _shares(found, by).items():
        device = on_chip[name]
        if device is None:
            continue
        settings: dict[Kind, dict[str, Any]] = {
            "bits": _finer(device, bits),
            "better": {} if better is None else {"profile": better},
            "digital": {} if alone else {"digital": True},
        }
        for kind in sorted(settings, key=lambda kind: PRICES[kind]):
            if settings[kind]:
                yield Remedy(name, kind, settings[kind], PRICES[kind] * share)


def _finer(device: Profile, bits: int) -> dict[str, Any]:
    """Settings that give a device's converters more bits, as far as there are."""
    now = {"adc.bits": device.adc.bits, "dac.bits": device.dac.bits}
    return {
        key: min(has + bits, _MOST_BITS)
        for key, has in now.items()
        if bits and has is not None and has < _MOST_BITS
    }


def _shares(found: Sensitivity, by: By) -> dict[str, float]:
    if by == "products":
        return {layer.name: layer.products for layer in found.layers}
    total = sum(layer.parameters for layer in found.layers)
    return {layer.name: layer.parameters / total for layer in found.layers}


def _settings(taken: Mapping[str, Remedy]) -> Layers:
    return {name: remedy.settings for name, remedy in sorted(taken.items())}


def lost(scores: Mapping[str, list[float]], name: str, metric: Metric) -> Summary:
    """How much worse than digital the assignment ``name`` is, chip by chip."""
    return summary(name, list(map(metric.lost, scores[NOTHING], scores[name])), falls=True)


def _verified(
    subject: Subject,
    found: Sensitivity,
    search: _Search,
    taken: dict[str, Remedy],
    asked: Asked,
) -> Advice:
    layers, metric = _settings(taken), subject.metric
    name = search.name(layers)
    wanted = {
        EVERYTHING: subject.devices,
        NOTHING: subject.devices.digital(subject.layers),
        name: search.assignment(layers),
    }
    fresh = subject.scores(wanted, range(found.chips, 2 * found.chips), ADVICE)
    shares = _shares(found, asked.by)
    return Advice(
        model=subject.name,
        device=subject.devices.name,
        metric=metric.name,
        token=subject.token,
        asked=asked,
        layers=layers,
        cost=sum(remedy.cost for remedy in taken.values()),
        digital_share=sum(shares[n] for n, r in taken.items() if r.kind == "digital"),
        steps=tuple(search.steps),
        chosen=search.lost(layers),
        verified=lost(fresh, name, metric),
        before=lost(fresh, EVERYTHING, metric),
    )


def advise(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    within: float,
    chips: int = 10,
    calibration: Iterable[Tensor] = (),
    age: float | str = 0.0,
    noise: float = 1.0,
    metric: str = "accuracy",
    bits: int = 2,
    better: str | None = None,
    by: By = "products",
    progress: Progress = silent,
) -> Advice:
    """A mixed assignment for any converted and calibrated model, which itself stays as it is.

    Args:
        model, batches, chips, age, noise, metric, progress: as in
            :func:`cimsim.analysis.sensitivity.sensitivity`.
        within, bits, better, by: as in :func:`advice`.
        calibration: training inputs that set the ranges of converters with more bits.

    Raises:
        CimsimError: as both, and if ranges are wanted and there is no calibration data.
    """
    asked = {"age_s": parse_duration(age), "noise": noise, "metric": metric}
    subject = ModelSubject(model, batches, calibration=calibration, progress=progress, **asked)  # type: ignore[arg-type]
    found = measure(subject, chips)
    return advice(subject, found, within=within, bits=bits, better=better, by=by)


def read_advice(run: Path) -> Advice:
    """The advice for the run in the folder ``run``.

    Raises:
        CimsimError: if there is none, or it is damaged.
    """
    path = sweep_folder(run, ADVICE) / f"{NAME}.json"
    return read_result(path, Advice, f"cimsim advise {run}")


def as_python(found: Advice, config: TrainConfig) -> str:
    """The call of :func:`cimsim.convert` that puts a model of ``config`` on this assignment."""
    layers = parse_layers(config.layer)
    for name, settings in found.layers.items():
        own = {} if "digital" in settings else layers.pop(name, {})
        layers[name] = {**own, **settings}
    profile = repr(config.profile)
    if config.overrides:
        profile = f"cimsim.load_profile({profile}, {list(config.overrides)!r})"
    lines = [f"    {name!r}: {settings!r}," for name, settings in layers.items()]
    kept = f", keep_digital={list(config.keep_digital)!r}" if config.keep_digital else ""
    return "\n".join([f"model = cimsim.convert(model, {profile}{kept}, layers={{", *lines, "})"])
