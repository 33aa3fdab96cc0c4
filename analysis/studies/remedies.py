"""The search for an assignment: remedies, their gains and costs, and how they are combined."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from cimsim.analysis.evaluation import Evaluation
from cimsim.analysis.studies.effects import EVERYTHING, NOTHING
from cimsim.analysis.studies.sensitivity import AssignmentsAxis, Sensitivity
from cimsim.analysis.sweeps.metric import rounding
from cimsim.analysis.sweeps.stats import Summary, summary
from cimsim.layer_options import Layers, format_layer

if TYPE_CHECKING:
    from cimsim.analysis.subjects import Subject
    from cimsim.analysis.sweeps.metric import Metric
    from cimsim.nn import Assignment
    from cimsim.profile import Profile

ADVICE = "advice"
Kind: TypeAlias = Literal["bits", "better", "digital"]
By: TypeAlias = Literal["macs", "parameters"]

PRICES: dict[Kind, float] = {"bits": 0.25, "better": 0.5, "digital": 1.0}
"""Cost of a remedy, as a share of the cost of computing the layer digitally: assumptions that
decide which remedy is tried before which."""

_MOST_BITS = 16


@dataclass(frozen=True)
class Remedy:
    """A change of one layer.

    Attributes:
        layer, kind, settings: the layer, the kind of change, and the settings for
            :func:`cimsim.convert`.
        cost: its price times the layer's share of the model.
        gain: how much better the model is with it, if everything else stays analog; 0 if that is
            no more than its standard error over chips.
    """

    layer: str
    kind: Kind
    settings: dict[str, Any]
    cost: float
    gain: float = 0.0


@dataclass(frozen=True)
class TriedMix:
    """An assignment that was tried: its remedies, and how much worse than digital it is."""

    layers: Layers
    lost: Summary


@dataclass(frozen=True)
class AdviceRequest:
    """The request that an advice answers.

    Attributes:
        within: the allowed distance from digital, in the metric.
        bits, better, by: see :func:`advise`.
    """

    within: float
    bits: int
    better: str | None
    by: By

    def allows(self, lost: float) -> bool:
        """Whether this loss to digital is within the allowed distance, up to rounding."""
        return lost <= self.within + rounding(self.within)


class RemedySearch:
    """Mixes an assignment, and remembers what it has tried."""

    def __init__(
        self,
        subject: Subject,
        evaluation: Evaluation,
        request: AdviceRequest,
        better: Profile | None,
    ) -> None:
        self._subject, self._evaluation, self._request = subject, evaluation, request
        self._base = evaluation.assignment(subject)
        self._metric = evaluation.metric_of(subject)
        self._better = better
        self._remedies: dict[str, list[Remedy]] = {}
        self.steps: list[TriedMix] = []
        self._known: dict[str, Summary] = {}

    def scores(
        self, assignments: Mapping[str, Assignment], first_chip: int | None = None
    ) -> dict[str, list[float]]:
        """The metric of each chip under each assignment; on the chips to choose on by default."""
        start = self._evaluation.first_chip if first_chip is None else first_chip
        evaluation = replace(self._evaluation, first_chip=start)
        axis = AssignmentsAxis(ADVICE, tuple(assignments), assignments)
        values = evaluation.sweep(self._subject, axis).values()
        return {str(level): numbers for level, numbers in values.items()}

    def lost(self, layers: Layers) -> Summary:
        """Return how much worse than digital the model is with these settings of layers."""
        name = self.name(layers)
        if name not in self._known:
            scores = self.scores({NOTHING: self.digital(), name: self.assignment(layers)})
            self._known[name] = loss_of(scores, name, self._metric)
            self.steps.append(TriedMix(layers, self._known[name]))
        return self._known[name]

    def name(self, layers: Layers) -> str:
        """Return the name under which results with these settings are kept."""
        if not layers:
            return EVERYTHING
        text = " ".join(format_layer(name, settings) for name, settings in layers.items())
        if self._better is None or not any("profile" in s for s in layers.values()):
            return text
        return f"{text} {hashlib.sha256(self._better.model_dump_json().encode()).hexdigest()[:8]}"

    def assignment(self, layers: Layers) -> Assignment:
        """Return the assignment with these settings."""
        given = {
            name: {k: self._better if k == "profile" else v for k, v in settings.items()}
            for name, settings in layers.items()
        }
        return self._base.changed(self._subject.layers, given)

    def digital(self) -> Assignment:
        """Return the assignment with every layer digital."""
        return self._base.digital(self._subject.layers)

    def near_enough(self, layers: Layers) -> bool:
        """Whether the model with these settings is within the allowed distance, in the mean."""
        return self._request.allows(self.lost(layers).mean)

    def measure(self, offered: Iterable[Remedy]) -> None:
        """Evaluate every remedy alone, and offer it with its gain."""
        named = {self.name({r.layer: r.settings}): r for r in offered}
        mixes = {name: self.assignment({r.layer: r.settings}) for name, r in named.items()}
        mixes[EVERYTHING] = self._base
        scores = self.scores(mixes)
        lost = self._metric.lost
        for name, remedy in named.items():
            gain = summary(name, list(map(lost, scores[name], scores[EVERYTHING])))
            error = gain.standard_error
            by_chance = gain.mean <= error + rounding(error)
            measured = replace(remedy, gain=0.0 if by_chance else gain.mean)
            self._remedies.setdefault(remedy.layer, []).append(measured)

    def mix(self, fallback: Mapping[str, float]) -> dict[str, Remedy]:
        """Choose remedies by layer; ``fallback`` is the loss by each layer alone, which decides
        where no remedy helps by itself."""
        taken: dict[str, Remedy] = {}
        tried = [taken]
        while not self.near_enough(settings_of(taken)):
            step = self._next(taken, fallback)
            if step is None:  # no assignment is close enough, so take the nearest
                return min(tried, key=lambda taken: self.lost(settings_of(taken)).mean)
            taken = {**taken, step.layer: step}
            tried.append(taken)
        return self._pruned(taken)

    def _next(self, taken: dict[str, Remedy], fallback: Mapping[str, float]) -> Remedy | None:
        """The remedy with the most gain for its cost in addition to those taken."""
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
        """Remove remedies that are not needed, the costliest first."""
        for name in sorted(taken, key=lambda name: -taken[name].cost):
            others = {n: remedy for n, remedy in taken.items() if n != name}
            cheaper = [r for r in self._remedies[name] if r.cost < taken[name].cost]
            for fewer in (others, *({**taken, name: r} for r in cheaper)):
                if self.near_enough(settings_of(fewer)):
                    taken = fewer
                    break
        return taken


def offered(
    assignment: Assignment, layers: Mapping[str, float], request: AdviceRequest
) -> Iterator[Remedy]:
    """The remedies for each layer that is on a chip, the cheapest first; a single one stays on it.
    ``layers`` are their shares of the model."""
    on_chip = {name: assignment.on(name) for name in layers}
    alone = sum(profile is not None for profile in on_chip.values()) == 1
    for name, share in layers.items():
        profile = on_chip[name]
        if profile is None:
            continue
        settings: dict[Kind, dict[str, Any]] = {
            "bits": _finer(profile, request.bits),
            "better": {} if request.better is None else {"profile": request.better},
            "digital": {} if alone else {"digital": True},
        }
        for kind in sorted(settings, key=lambda kind: PRICES[kind]):
            if settings[kind]:
                yield Remedy(name, kind, settings[kind], PRICES[kind] * share)


def _finer(profile: Profile, bits: int) -> dict[str, Any]:
    """Settings that give the converters more bits, up to the most that they can have."""
    now = {"adc.bits": profile.adc.bits, "dac.bits": profile.dac.bits}
    return {
        key: min(has + bits, _MOST_BITS)
        for key, has in now.items()
        if bits and has is not None and has < _MOST_BITS
    }


def shares_of_layers(result: Sensitivity, by: By) -> dict[str, float]:
    """Return each layer's share of the MACs or of the parameters."""
    if by == "macs":
        return {layer.name: layer.macs for layer in result.layers}
    total = sum(layer.parameters for layer in result.layers)
    return {layer.name: layer.parameters / total for layer in result.layers}


def settings_of(taken: Mapping[str, Remedy]) -> Layers:
    """Return the settings of the layers that these remedies change."""
    return {name: remedy.settings for name, remedy in sorted(taken.items())}


def loss_of(scores: Mapping[str, list[float]], name: str, metric: Metric) -> Summary:
    """Return how much worse than digital the assignment ``name`` is, chip by chip."""
    return summary(name, list(map(metric.lost, scores[NOTHING], scores[name])), falls=True)
