"""Designs of a chip: what there is to choose from, the search, and the evaluation of each."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import cimsim
from cimsim.analysis.cost.provenance import PRICE_CLASSES, price_class
from cimsim.analysis.evaluation import Evaluation, silent
from cimsim.analysis.labels import distinct_names
from cimsim.analysis.studies.dominance import dominators
from cimsim.analysis.sweeps.axis import Axis, Level, VariantsAxis, format_axis, parse_axis
from cimsim.analysis.sweeps.stats import Summary, summaries
from cimsim.analysis.sweeps.store import Plan
from cimsim.errors import CimsimError
from cimsim.seeds import seed_for

if TYPE_CHECKING:
    from cimsim.analysis.cost import Cost, Workload
    from cimsim.analysis.cost.parts import Quantity
    from cimsim.analysis.subjects import Subject
    from cimsim.nn import Assignment
    from cimsim.profile import Profile

EXPLORE = "explore"
"""Key of the axis of designs."""
_COST_INPUTS = 64  # test inputs whose mean row drive the cost is computed with
_WORST = 1e9  # the loss that the search gets for a chip whose outputs are not finite
_IN_VAIN = 50  # proposals of known designs in a row before one is drawn at random


@dataclass(frozen=True)
class Point:
    """A design, its metric and the cost of an inference on it.

    Attributes:
        run, profile: their names.
        changes: changes of the profile, such as ``adc.bits=6 array.rows=256``.
        score: the metric over the chips that it was evaluated on.
        on_front: whether it is significantly better than every cheaper design on its front.
        prices: class of its prices, see :data:`cimsim.analysis.cost.provenance.PRICE_CLASSES`;
            empty in older files.
        generic: share of the cost, from 0 to 1, that follows from generic prices; None in older
            files.
        number: its number in table and figure, from 1; 0 in older files.
        dominated_by: number of the design on the front that costs no more and is not significantly
            worse; 0 for the front itself.
    """

    run: str
    profile: str
    changes: str
    energy_pJ: float
    latency_ns: float
    area_um2: float
    score: Summary
    on_front: bool = False
    prices: str = ""
    generic: float | None = None
    number: int = 0
    dominated_by: int = 0

    @property
    def kind(self) -> str:
        """Run and profile, which share a color."""
        return f"{self.run} on {self.profile}"


@dataclass(frozen=True)
class CostObjective:
    """A cost to minimize: its name in words, its quantity and base unit, and the number in it."""

    title: str
    quantity: Quantity
    unit: str
    of: Callable[[Point], float]


OBJECTIVES: dict[str, CostObjective] = {
    "energy": CostObjective(
        "Energy per inference", "energy", "J", lambda point: 1e-12 * point.energy_pJ
    ),
    "latency": CostObjective(
        "Time per inference", "time", "s", lambda point: 1e-9 * point.latency_ns
    ),
    "area": CostObjective("Area", "area", "m²", lambda point: 1e-12 * point.area_um2),
}


@dataclass(frozen=True)
class DesignAxis(VariantsAxis):
    """Changes of a profile by name, ``adc.bits=6 array.rows=256``; the name is the level."""

    def apply(self, profile: Profile, level: Level) -> Profile:
        """The profile with all changes of that name.

        Raises:
            CimsimError: if the profile rejects one.
        """
        for change in str(level).split():
            axis = parse_axis(change)
            profile = axis.apply(profile, axis.values[0])
        return profile


@dataclass(frozen=True)
class Design:
    """One design: a subject and a profile by their numbers in the lists, and the changes."""

    subject: int
    profile: int
    changes: str


@dataclass(frozen=True)
class Space:
    """All designs to choose from.

    Attributes:
        subjects: models, scored on the same data.
        profiles: profiles to evaluate on; None for each subject's own.
        axes: axes of the changes.
    """

    subjects: tuple[Subject, ...]
    profiles: tuple[Profile | None, ...]
    axes: tuple[Axis, ...]

    def __post_init__(self) -> None:
        """
        Raises:
            CimsimError: if the subjects have different data, or an axis is time or repeated.
        """
        if len({subject.data for subject in self.subjects}) > 1:
            raise CimsimError("runs on different data cannot be compared; explore them one by one")
        keys = [axis.key for axis in self.axes]
        if "time" in keys:
            raise CimsimError("time is not part of a design; set the age of the chips instead")
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise CimsimError(f"{twice[0]} is given twice; write all its levels in one")

    def choices(self) -> dict[str, list[Any]]:
        """The choices by name."""
        return {
            "run": list(range(len(self.subjects))),
            "device": list(range(len(self.profiles))),  # a name that the search's draws depend on
            **{axis.key: [axis.format(level) for level in axis.values] for axis in self.axes},
        }

    def cli_texts(self) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        """Subjects, profiles and axes as on the command line."""
        runs = tuple(str(subject.folder or subject.name) for subject in self.subjects)
        profiles = tuple(
            cimsim.profile.typed_profile(p.name) for p in self.profiles if p is not None
        )
        return runs, profiles, tuple(map(format_axis, self.axes))

    def __len__(self) -> int:
        return math.prod(len(values) for values in self.choices().values())

    def design(self, chosen: dict[str, Any]) -> Design:
        """The design with these choices."""
        changes = " ".join(f"{axis.key}={chosen[axis.key]}" for axis in self.axes)
        return Design(chosen["run"], chosen["device"], changes)

    def designs(self) -> Iterator[Design]:
        """Yield all designs."""
        choices = self.choices()
        for values in itertools.product(*choices.values()):
            yield self.design(dict(zip(choices, values, strict=True)))


class DesignEvaluator:
    """Evaluates designs and keeps their points."""

    plan: Plan

    def __init__(
        self, space: Space, objective: CostObjective, evaluation: Evaluation, one_front: bool
    ) -> None:
        self._space, self._objective, self._evaluation = space, objective, evaluation
        self._one_front = one_front
        self._names = subject_names(space.subjects)
        self._work: dict[int, Workload] = {}
        self._classes: dict[tuple[int, int], str] = {}
        self._values: dict[Design, list[float]] = {}
        self.known: dict[Design, Point] = {}
        self.warnings: dict[str, None] = {}
        self._metric = evaluation.metric_of(space.subjects[0])
        digital = [evaluation.digital(subject) for subject in space.subjects]
        self.digital = min(digital) if self._metric.falls else max(digital)

    def name(self, design: Design) -> str:
        """Describe a design that was evaluated."""
        point = self.known[design]
        return f"{point.kind} {point.changes}".rstrip()

    def evaluate(self, design: Design, chips: int) -> None:
        """Evaluate the design on ``chips`` chips; finished trials are not evaluated again."""
        subject = self._space.subjects[design.subject]
        profile = self._space.profiles[design.profile]
        quiet = replace(self._evaluation, chips=chips, profile=profile, progress=silent)
        axis = DesignAxis(EXPLORE, (design.changes,))
        sweep = quiet.sweep(subject, axis)
        self.plan = sweep.plan
        (score,) = summaries(sweep.trials, sweep.plan.measured)
        (self._values[design],) = sweep.values().values()
        if known := self.known.get(design):
            self.known[design] = replace(known, score=score)
            return
        cost = self._cost(design, axis.assign(quiet.assignment(subject), design.changes))
        quantity = self._objective.quantity
        self.warnings |= dict.fromkeys(cost.warnings)
        self.known[design] = Point(
            run=self._names[design.subject],
            profile=quiet.assignment(subject).name,
            changes=design.changes,
            energy_pJ=cost.energy_pJ.total,
            latency_ns=cost.latency_ns,
            area_um2=cost.area_um2.total,
            score=score,
            prices=self._class(design, quiet.assignment(subject)),
            generic=cost.provenance(quantity).get("generic", 0.0),
        )

    def _class(self, design: Design, unchanged: Assignment) -> str:
        """The class of the prices of the profile without changes, so that all of its designs are
        in one class."""
        key = (design.subject, design.profile)
        if key not in self._classes:
            cost = self._cost(design, unchanged)
            self._classes[key] = price_class(cost, self._objective.quantity)
        return self._classes[key]

    def _cost(self, design: Design, assignment: Assignment) -> Cost:
        """Compute the cost of the design on ``assignment``, which needs no trial."""
        from cimsim.analysis.cost import cost_of, workload_of

        subject = self._space.subjects[design.subject]
        x = subject.inputs(_COST_INPUTS)
        if assignment.layers:  # layers with profiles of their own
            return cost_of(cimsim.nn.set_profile(subject.model(), assignment), x)
        if design.subject not in self._work:
            self._work[design.subject] = workload_of(subject.model(), x)
        return cost_of(self._work[design.subject], profile=assignment.profile)

    def values(self, design: Design) -> tuple[float, float]:
        """Both objectives; lower is better."""
        point = self.known[design]
        lost = self._metric.lost(0.0, point.score.mean)
        return self._objective.of(point), lost if math.isfinite(lost) else _WORST

    def candidates(self) -> list[Design]:
        """The designs that may be on a front: those that no cheaper one beats in the mean, and
        those on the front by statistics."""
        chosen: dict[Design, None] = {}
        for group in self._groups().values():
            best = _WORST  # a chip whose outputs are not finite is on no front
            for design in group:
                _, lost = self.values(design)
                if lost < best:
                    chosen[design] = None
                best = min(best, lost)
            dominated_by = self._dominators(group)
            chosen |= {d: None for d, by in zip(group, dominated_by, strict=True) if by is None}
        return list(chosen)

    def points(self) -> tuple[Point, ...]:
        """The known points, the cheapest first, with their fronts and numbers."""
        by: dict[Design, Design] = {}
        fronts: list[Design] = []
        for group in self._groups().values():
            for design, index in zip(group, self._dominators(group), strict=True):
                if index is None:
                    fronts.append(design)
                else:
                    by[design] = group[index]
        ranked = sorted(self.known, key=self.values)
        order = [*fronts, *(design for design in ranked if design in by)]
        numbers = {design: number for number, design in enumerate(order, start=1)}
        return tuple(
            replace(
                self.known[design],
                on_front=design not in by,
                number=numbers[design],
                dominated_by=numbers[by[design]] if design in by else 0,
            )
            for design in ranked
        )

    def _groups(self) -> dict[str, list[Design]]:
        """The designs that share a front, by the class of their prices; the cheapest first."""
        ranked = sorted(self.known, key=self.values)
        if self._one_front:
            return {"": ranked}
        of = {design: self.known[design].prices for design in ranked}
        present = [name for name in PRICE_CLASSES if name in of.values()]
        return {name: [design for design in ranked if of[design] == name] for name in present}

    def _dominators(self, group: Sequence[Design]) -> list[int | None]:
        costs = [self._objective.of(self.known[design]) for design in group]
        return dominators(costs, [self._values[d] for d in group], self._metric.falls)


def proposals(space: Space, total: int, seed: int, evaluator: DesignEvaluator) -> Iterator[Design]:
    """Yield designs to evaluate, until ``total`` are known: all, or the search's proposals."""
    if total == len(space):
        yield from space.designs()
        return
    optuna = _optuna()
    number = seed_for(EXPLORE, seed)
    sampler = optuna.samplers.TPESampler(seed=number % 2**32, n_startup_trials=max(4, total // 4))
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)
    choices = space.choices()
    kinds = {
        # Levels have an order, subjects and profiles have none.
        name: optuna.distributions.CategoricalDistribution(range(len(values)))
        if name in ("run", "device")
        else optuna.distributions.IntDistribution(0, len(values) - 1)
        for name, values in choices.items()
    }
    chance, in_vain = random.Random(number), 0
    while len(evaluator.known) < total:
        trial = study.ask(kinds)
        design = space.design({name: choices[name][at] for name, at in trial.params.items()})
        in_vain = in_vain + 1 if design in evaluator.known else 0
        if not in_vain:
            yield design
        study.tell(trial, evaluator.values(design))
        if in_vain == _IN_VAIN:  # the search has converged; spend the rest on other designs
            while design in evaluator.known:
                design = space.design({n: chance.choice(v) for n, v in choices.items()})
            yield design
            in_vain = 0


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise CimsimError(
            "searching more designs than --budget allows needs Optuna: run `pip install optuna`, "
            "or evaluate all designs with a larger --budget"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def subject_names(subjects: Sequence[Subject]) -> list[str]:
    """Names that distinguish subjects."""
    folders = [subject.home for subject in subjects]
    known = [folder for folder in folders if folder is not None]
    if len(known) == len(folders):
        return distinct_names(known)
    names = [subject.name for subject in subjects]
    repeated = {name for name in names if names.count(name) > 1}
    return [f"{n} {i}" if n in repeated else n for i, n in enumerate(names, start=1)]
