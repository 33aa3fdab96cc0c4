"""Accuracy against cost: the designs of a chip that no other design beats in both.

A design is one of several runs on one of several devices, with a level for each of several axes:
method, device, ADC bits, tile size. Where there are more designs than may be evaluated, Optuna's
tree-structured Parzen estimator chooses (S. Watanabe, "Tree-Structured Parzen Estimator",
arXiv:2304.11127). Its draws follow from the seed, and every evaluated cell lies in its run's
folder; so a search that was stopped is made again from the start, at no cost as far as it had come.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cimsim.analysis.cost import Cost, Workload, cost_of, workload_of
from cimsim.analysis.levels import Axis, Level, format_axis, parse_axis
from cimsim.analysis.names import distinct_names
from cimsim.analysis.stats import Summary, summaries
from cimsim.analysis.store import EXPLORE, Plan
from cimsim.analysis.study import Evaluation, Facts, Result, Sheet, facts_of, read_result
from cimsim.errors import CimsimError
from cimsim.nn import set_profile
from cimsim.profile import Profile, typed_profile
from cimsim.seeds import seed_for
from cimsim.suggest import unknown
from cimsim.training.run import Run

NAME = "explore"
_LOOKED_AT = 64  # test inputs that tell how strongly rows are driven
_WORST = 1e9  # what a search is told of a chip that gives nonsense
_IN_VAIN = 50  # proposals of known designs, one after the other, before one is drawn at random


@dataclass(frozen=True)
class Point:
    """A design, how it does and what an inference costs on it.

    Attributes:
        run, device: their names.
        changes: of the device, such as ``adc.bits=6 array.rows=256``.
        score: the metric over the chips that it was evaluated on.
        on_front: whether no other one does better for less.
    """

    run: str
    device: str
    changes: str
    energy_pJ: float
    latency_ns: float
    area_um2: float
    score: Summary
    on_front: bool = False


@dataclass(frozen=True)
class Objective:
    """A cost that is to be small: its name in words with the unit, and the number."""

    title: str
    unit: str
    of: Callable[[Point], float]


OBJECTIVES: dict[str, Objective] = {
    "energy": Objective("Energy per inference", "nJ", lambda point: 1e-3 * point.energy_pJ),
    "latency": Objective("Time per inference", "µs", lambda point: 1e-3 * point.latency_ns),
    "area": Objective("Area", "mm²", lambda point: 1e-6 * point.area_um2),
}


@dataclass(frozen=True)
class Asked:
    """What a search was asked for.

    Attributes:
        runs: their folders.
        devices: devices to choose from, as they are typed; none for each run's own.
        over: the axes with their levels, as they are typed.
        budget, chips, final_chips, cost, seed: see :func:`explore`.
    """

    runs: tuple[str, ...]
    devices: tuple[str, ...]
    over: tuple[str, ...]
    budget: int
    chips: int
    final_chips: int
    cost: str
    seed: int


@dataclass(frozen=True)
class Exploration(Result):
    """What a search found, the cheapest first.

    Attributes:
        facts: of the evaluation: all runs and devices and the hashes of all models, the chips of
            the designs on the front, and the metric of the best run without any device.
        designs: how many there are in all, whether evaluated or not.
        warnings: about the costs, see :class:`cimsim.analysis.cost.Cost`.
    """

    facts: Facts
    asked: Asked
    designs: int
    points: tuple[Point, ...]
    warnings: tuple[str, ...]

    @property
    def objective(self) -> Objective:
        """The cost that was to be small."""
        return OBJECTIVES[self.asked.cost]

    @property
    def answer(self) -> str:
        """How much was looked at, and what is left of it."""
        count = len(self.front)
        evaluated = f"{len(self.points)} of {self.designs} designs were evaluated"
        return f"{evaluated}; {count} {'is' if count == 1 else 'are'} on the front"

    @property
    def front(self) -> tuple[Point, ...]:
        """The points that no other one beats in both."""
        return tuple(point for point in self.points if point.on_front)

    def table(self) -> Iterator[Sequence[object]]:
        """One row for each design, the heading first."""
        yield [
            *("on_front", "run", "device", "changes", "energy_pJ", "latency_ns", "area_um2"),
            *("chips", "mean", "std", "worst"),
        ]
        for p in self.points:
            score = [p.score.chips, p.score.mean, p.score.std, p.score.worst]
            costs = [p.energy_pJ, p.latency_ns, p.area_um2]
            yield [int(p.on_front), p.run, p.device, p.changes, *costs, *score]

    def sheet(self) -> Sheet:
        """The designs on the front, with the numbers that they have in the picture."""
        metric, cost = self.facts.measured, self.objective
        rows = tuple(
            (
                *(str(number), point.run, point.device, point.changes),
                *(f"{cost.of(point):.4g}", point.score.shown(metric)),
                metric.shown(point.score.worst),
            )
            for number, point in enumerate(self.front, start=1)
        )
        paid = f"{cost.title.lower()} in {cost.unit}"
        headings = ("front", "run", "device", "changes", paid, "mean ± 95 %", "worst chip")
        return Sheet(self.facts.caption, headings, rows, (0, 4, 5, 6))


@dataclass(frozen=True)
class DesignAxis(Axis):
    """Changes of a profile by name, ``adc.bits=6 array.rows=256``; the name is the level."""

    def apply(self, profile: Profile, level: Level) -> Profile:
        """The profile with all the changes of that name.

        Raises:
            CimsimError: if the profile refuses one.
        """
        for change in str(level).split():
            axis = parse_axis(change)
            profile = axis.apply(profile, axis.values[0])
        return profile


@dataclass(frozen=True)
class Design:
    """One chip: a run and a device by their numbers in the lists, and the changes to the device."""

    run: int
    device: int
    changes: str


@dataclass(frozen=True)
class Space:
    """All designs in question.

    Attributes:
        runs: trained in different ways, on the same data.
        devices: to evaluate on; None stands for each run's own.
        axes: what varies of them.
    """

    runs: tuple[Run, ...]
    devices: tuple[Profile | None, ...]
    axes: tuple[Axis, ...]

    def __post_init__(self) -> None:
        """
        Raises:
            CimsimError: if the runs are of different data, or an axis is time or there twice.
        """
        if len({run.config.data for run in self.runs}) > 1:
            raise CimsimError("runs on different data cannot be compared; explore them one by one")
        keys = [axis.key for axis in self.axes]
        if "time" in keys:
            raise CimsimError("time is no choice of a design; give the age of the chips instead")
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise CimsimError(f"{twice[0]} is varied twice; write all its levels in one")

    def choices(self) -> dict[str, list[Any]]:
        """What can be chosen, and from what."""
        return {
            "run": list(range(len(self.runs))),
            "device": list(range(len(self.devices))),
            **{axis.key: [axis.format(level) for level in axis.values] for axis in self.axes},
        }

    def typed(self) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        """Runs, devices and axes as they are typed."""
        runs = tuple(str(run.path) for run in self.runs)
        devices = tuple(typed_profile(device.name) for device in self.devices if device is not None)
        return runs, devices, tuple(map(format_axis, self.axes))

    def __len__(self) -> int:
        return math.prod(len(values) for values in self.choices().values())

    def design(self, chosen: dict[str, Any]) -> Design:
        """The design of one choice each."""
        changes = " ".join(f"{axis.key}={chosen[axis.key]}" for axis in self.axes)
        return Design(chosen["run"], chosen["device"], changes)

    def designs(self) -> Iterator[Design]:
        """All of them."""
        choices = self.choices()
        for values in itertools.product(*choices.values()):
            yield self.design(dict(zip(choices, values, strict=True)))


def explore(
    space: Space,
    evaluation: Evaluation = Evaluation(chips=3),  # noqa: B008
    *,
    budget: int = 40,
    final_chips: int = 10,
    cost: str = "energy",
    seed: int = 0,
) -> Exploration:
    """Evaluate up to ``budget`` designs, and those on the front on ``final_chips`` chips.

    Args:
        space: what may be chosen.
        evaluation: the chips during the search, and where; its device is left out.
        budget: designs to evaluate; where the space holds no more, all of them are.
        final_chips: chips for those on the front in the end, the first of which are the same.
        cost: ``energy``, ``latency`` or ``area``.
        seed: decides what the search proposes.

    Raises:
        CimsimError: if there is no such cost, a profile refuses a level, or the space is larger
            than ``budget`` and Optuna is not installed.
    """
    if cost not in OBJECTIVES:
        raise CimsimError(unknown("cost", cost, OBJECTIVES))
    bench = _Bench(space, OBJECTIVES[cost], evaluation)
    total = min(budget, len(space))
    for design in _proposals(space, total, seed, bench):
        bench.evaluate(design, evaluation.chips)
        evaluation.progress(len(bench.known), total, bench.name(design))
    points = bench.points()
    # With more chips a point may leave the front, and another one take its place.
    while few := [d for d, p in points.items() if p.on_front and p.score.chips < final_chips]:
        for design in few:
            evaluation.progress(total, total, f"front, {bench.name(design)}")
            bench.evaluate(design, final_chips)
        points = bench.points()
    found = tuple(points.values())
    facts = replace(
        facts_of(bench.plan, evaluation),
        run=", ".join(dict.fromkeys(point.run for point in found)),
        checkpoint_sha256=", ".join(run.checkpoint_sha256 for run in space.runs),
        profile=", ".join(dict.fromkeys(point.device for point in found)),
        chips=max(final_chips, evaluation.chips),
        digital=bench.digital,
    )
    asked = Asked(*space.typed(), budget, evaluation.chips, final_chips, cost, seed)
    return Exploration(facts, asked, len(space), found, tuple(bench.warnings))


class _Bench:
    """Evaluates designs, and remembers them."""

    plan: Plan

    def __init__(self, space: Space, objective: Objective, evaluation: Evaluation) -> None:
        self._space, self._objective, self._evaluation = space, objective, evaluation
        self._names = distinct_names([run.path for run in space.runs])
        self._work: dict[int, Workload] = {}
        self.known: dict[Design, Point] = {}
        self.warnings: dict[str, None] = {}
        self._metric = evaluation.metric_of(space.runs[0])
        scores = (r.digital_score(evaluation.samples, evaluation.device) for r in space.runs)
        reached = [self._metric.of(*score) for score in scores]
        self.digital = min(reached) if self._metric.falls else max(reached)

    def name(self, design: Design) -> str:
        """What people call a design."""
        point = self.known[design]
        return f"{point.run} on {point.device} {point.changes}".rstrip()

    def evaluate(self, design: Design, chips: int) -> None:
        """Know the design on so many chips; cells in its run's folder are not evaluated again."""
        run, device = self._space.runs[design.run], self._space.devices[design.device]
        quiet = replace(
            self._evaluation, chips=chips, on=device, progress=lambda done, total, doing: None
        )
        axis = DesignAxis(EXPLORE, (design.changes,))
        found = quiet.sweep(run, axis)
        self.plan = found.plan
        (score,) = summaries(found.cells, found.plan.measured)
        if known := self.known.get(design):
            self.known[design] = replace(known, score=score)
            return
        cost = self._cost(design, quiet, axis)
        self.warnings |= dict.fromkeys(cost.warnings)
        self.known[design] = Point(
            run=self._names[design.run],
            device=quiet.devices(run).name,
            changes=design.changes,
            energy_pJ=cost.energy_pJ.total,
            latency_ns=cost.latency_ns,
            area_um2=cost.area_um2.total,
            score=score,
        )

    def _cost(self, design: Design, evaluation: Evaluation, axis: DesignAxis) -> Cost:
        """Of the layers on their devices, without looking at the accuracy."""
        run = self._space.runs[design.run]
        devices = axis.assign(evaluation.devices(run), design.changes)
        if devices.layers:  # layers on devices of their own
            model = set_profile(run.chip_model(), devices)
            return cost_of(model, run.data.test_x[:_LOOKED_AT])
        if design.run not in self._work:
            x = run.data.test_x[:_LOOKED_AT]
            self._work[design.run] = workload_of(run.chip_model(), x)
        return cost_of(self._work[design.run], profile=devices.profile)

    def values(self, design: Design) -> tuple[float, float]:
        """Both objectives, the less the better."""
        point = self.known[design]
        lost = self._metric.lost(0.0, point.score.mean)
        return self._objective.of(point), lost if math.isfinite(lost) else _WORST

    def points(self) -> dict[Design, Point]:
        """All that is known, the cheapest first, with the front marked."""
        marked, best = {}, _WORST  # a chip that gives nonsense is on no front
        for design in sorted(self.known, key=self.values):
            _, lost = self.values(design)
            marked[design] = replace(self.known[design], on_front=lost < best)
            best = min(best, lost)
        return marked


def _proposals(space: Space, total: int, seed: int, bench: _Bench) -> Iterator[Design]:
    """Designs to evaluate, until ``total`` are known: all, or what the search proposes next."""
    if total == len(space):
        yield from space.designs()
        return
    optuna = _optuna()
    number = seed_for("explore", seed)
    sampler = optuna.samplers.TPESampler(seed=number % 2**32, n_startup_trials=max(4, total // 4))
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)
    choices = space.choices()
    kinds = {
        # Levels have an order, runs and devices have none.
        name: optuna.distributions.CategoricalDistribution(range(len(values)))
        if name in ("run", "device")
        else optuna.distributions.IntDistribution(0, len(values) - 1)
        for name, values in choices.items()
    }
    chance, in_vain = random.Random(number), 0
    while len(bench.known) < total:
        trial = study.ask(kinds)
        design = space.design({name: choices[name][at] for name, at in trial.params.items()})
        in_vain = in_vain + 1 if design in bench.known else 0
        if not in_vain:
            yield design
        study.tell(trial, bench.values(design))
        if in_vain == _IN_VAIN:  # the search has settled; what is left is spent on others
            while design in bench.known:
                design = space.design({n: chance.choice(v) for n, v in choices.items()})
            yield design
            in_vain = 0


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise CimsimError(
            "to search more designs than may be evaluated needs Optuna: "
            "pip install 'cimsim-torch[tune]', or evaluate all with a larger --budget"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def read_exploration(run: Path) -> Exploration:
    """The exploration that lies in the folder ``run``.

    Raises:
        CimsimError: if there is none, or it is damaged.
    """
    path = run / EXPLORE / f"{NAME}.json"
    return read_result(path, Exploration, f"cimsim explore {run} --over adc.bits=4,5,6,8")
