"""Accuracy against cost: the designs of a chip that are worth their cost.

A design is one of several models on one of several profiles, with a level for each of several axes:
training method, profile, ADC bits, tile size. Which of them are worth their cost is decided by
statistics over chips, see :mod:`cimsim.analysis.studies.dominance`.

If there are more designs than may be evaluated, Optuna's tree-structured Parzen estimator chooses
(S. Watanabe, "Tree-Structured Parzen Estimator", arXiv:2304.11127). Its draws follow from the seed,
and every trial is kept in its subject's folder; so a search that was stopped repeats its finished
part at no cost.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cimsim
from cimsim.analysis import figures
from cimsim.analysis.cost.provenance import PRICE_CLASSES, SHORT_CLASSES
from cimsim.analysis.evaluation import Evaluation
from cimsim.analysis.labels import distinct_names, require_names
from cimsim.analysis.sheet import Column, Sheet, percentages, quantities
from cimsim.analysis.studies.designs import (
    EXPLORE,
    OBJECTIVES,
    CostObjective,
    DesignEvaluator,
    Point,
    Space,
    proposals,
)
from cimsim.analysis.study import (
    Facts,
    Options,
    Study,
    StudyResult,
    facts_of,
    option,
)
from cimsim.analysis.sweeps.axis import parse_axis
from cimsim.analysis.sweeps.stats import means
from cimsim.errors import CimsimError
from cimsim.quantities import quantity
from cimsim.suggest import unknown

if TYPE_CHECKING:
    from cimsim.analysis.figures.canvas import Layout, Panels
    from cimsim.analysis.subjects import Subject

NAME = EXPLORE
_CLASSES = (*PRICE_CLASSES, "")
DESIGNS = "designs"
"""The name (``gid``) of the designs in the figure, the cheapest first."""


class ExploreOptions(Options):
    """Search designs of a chip (run, profile, converters, tiles) for accuracy at low cost.

    A design is on the front if it is significantly better than every cheaper design on it, compared
    chip by chip. Designs with measured or published prices, with partly generic prices and with
    generic prices have separate fronts, unless --one-front is set.

    If there are more designs than --budget, Optuna chooses which to evaluate (pip install optuna).
    Trials are kept in each RUN/explore/: run the same command again to resume, or with a larger
    budget to add to them. The front is written to the folder of the first run.
    """

    over: tuple[str, ...] = option(
        ...,
        "Choices of a design, such as adc.bits=4,5,6,8 or array.rows=128,256,512; can be repeated.",
        metavar="KEY=LEVELS",
        axis=True,
    )
    profile: tuple[str, ...] = option(
        (),
        "Profile to choose from: a name or a file; can be repeated.",
        metavar="PROFILE",
        default_text="each run's own",
        old_flag="--on",
    )
    budget: int = option(40, "Maximum number of designs to evaluate.", ge=2, in_name=False)
    chips: int = option(3, "Number of chips for each design.", ge=1, in_name=False)
    final_chips: int = option(
        10, "Number of chips for each design on the front.", ge=1, in_name=False
    )
    cost: str = option("energy", "Cost to minimize.", metavar="energy|latency|area")
    one_front: bool = option(
        False,
        "Compare all designs on one front, even if some have measured or published prices and "
        "others generic ones.",
    )
    seed: int = option(0, "Seed of the search.", ge=0)


@dataclass(frozen=True)
class SearchRequest:
    """The request that an exploration answers.

    Attributes:
        runs: folders of the subjects.
        profiles: profiles to choose from, as on the command line; none for each subject's own.
        over: the axes with their levels, as on the command line.
        budget, chips, final_chips, cost, seed, one_front: see :func:`explore`.
    """

    runs: tuple[str, ...]
    profiles: tuple[str, ...]
    over: tuple[str, ...]
    budget: int
    chips: int
    final_chips: int
    cost: str
    seed: int
    one_front: bool = False


@dataclass(frozen=True)
class Exploration(StudyResult):
    """The evaluated designs, the cheapest first.

    Attributes:
        facts: names and hashes of all subjects and profiles, the chips of the designs on the front,
            and the digital metric of the best subject.
        designs: total number of designs, evaluated or not.
        warnings: warnings about the costs, see :class:`cimsim.analysis.cost.Cost`.
    """

    facts: Facts
    request: SearchRequest
    designs: int
    points: tuple[Point, ...]
    warnings: tuple[str, ...] = ()

    stem = "explore/explore"

    def renamed(self, names: Sequence[str]) -> Exploration:
        """See :class:`Shown`."""
        own = distinct_names([Path(run) for run in self.request.runs])
        if not {point.run for point in self.points} <= set(own):  # models in memory
            own = list(dict.fromkeys(point.run for point in self.points))
        require_names(names, own)
        new = dict(zip(own, names, strict=True))
        points = tuple(replace(point, run=new[point.run]) for point in self.points)
        runs = ", ".join(dict.fromkeys(point.run for point in points))
        return replace(self, points=points, facts=replace(self.facts, run=runs))

    @property
    def objective(self) -> CostObjective:
        """The cost that was minimized."""
        return OBJECTIVES[self.request.cost]

    @property
    def answer(self) -> str:
        """The numbers of designs in words."""
        counts = {name: len(points) for name, points in self.fronts.items()}
        evaluated = f"{len(self.points)} of {self.designs} designs were evaluated"
        if self.request.one_front or len(counts) < 2:
            count = len(self.front)
            on = next((f" with {name}" for name in counts if name), "")
            on = "" if self.request.one_front else on
            return f"{evaluated}; {count} {'is' if count == 1 else 'are'} on the front{on}."
        words = " and ".join(f"{count} on the front with {name}" for name, count in counts.items())
        return (
            f"{evaluated}; {words}. Costs from different kinds of prices cannot be compared, so "
            "their fronts are separate."
        )

    @property
    def front(self) -> tuple[Point, ...]:
        """The points on all fronts, in the order of their numbers: those that are significantly
        better than every cheaper one on their front."""
        return tuple(point for points in self.fronts.values() for point in points)

    @property
    def fronts(self) -> dict[str, tuple[Point, ...]]:
        """The points of each front, the cheapest first, by the class of its prices; one front
        without a name with ``one_front``, or from an older file."""
        points = [point for point in self.points if point.on_front]
        if self.request.one_front:
            return {"": tuple(points)}
        names = sorted({p.prices for p in points}, key=lambda name: _CLASSES.index(name))
        return {name: tuple(p for p in points if p.prices == name) for name in names}

    @property
    def numbered(self) -> tuple[Point, ...]:
        """All points in the order of their numbers, those on the fronts first."""
        return (*self.front, *(point for point in self.points if not point.on_front))

    def rows(self) -> Iterator[Sequence[object]]:
        """Yield one row for each design, the heading first."""
        yield [
            *("on_front", "run", "profile", "changes", "energy_pJ", "latency_ns", "area_um2"),
            *("chips", "mean", "std", "worst", "number", "dominated_by", "prices", "generic"),
        ]
        for p in self.points:
            score = [p.score.chips, p.score.mean, p.score.std, p.score.worst]
            costs = [p.energy_pJ, p.latency_ns, p.area_um2]
            origin = [p.number, p.dominated_by, p.prices, "" if p.generic is None else p.generic]
            yield [int(p.on_front), p.run, p.profile, p.changes, *costs, *score, *origin]

    def sheet(self) -> Sheet:
        """The designs on the fronts, with their numbers in the figure."""
        return self._sheet(f"{self.facts.caption}{self.facts.plus_minus}", self.front, 1)

    def more_sheets(self) -> Iterator[Sheet]:
        """See :class:`Result`."""
        others = self.numbered[len(self.front) :]
        if others:
            caption = "Designs that are not better than a cheaper one"
            yield self._sheet(caption, others, 1 + len(self.front), others=True)

    def _sheet(
        self, caption: str, points: Sequence[Point], first: int, others: bool = False
    ) -> Sheet:
        """A table of some designs; runs and profiles are left out where there is only one."""
        metric, cost = self.facts.measured, self.objective
        by = [str(p.dominated_by or "-") for p in points] if others else []
        columns = [
            Column("#", tuple(str(first + i) for i in range(len(points)))),
            *self._kinds(points),
            Column("changes", tuple(p.changes for p in points), kind="text"),
            quantities(cost.quantity, cost.unit, map(cost.of, points)),
            means("mean", (p.score for p in points), metric),
            *([Column("dominated by", tuple(by))] if any(p.dominated_by for p in points) else []),
        ]
        if any(p.prices for p in self.points):
            several = len({p.prices for p in self.points}) > 1
            prices = tuple(SHORT_CLASSES[p.prices] for p in points)
            essential = several and not others
            columns.append(Column("prices", prices, kind="text", essential=essential))
            generic = (p.generic for p in points)
            columns.append(percentages("generic", generic, essential=False))
        columns.append(
            means("worst chip", (p.score.worst for p in points), metric, essential=False)
        )
        for other in OBJECTIVES.values():
            if other is not cost:
                values = map(other.of, points)
                columns.append(quantities(other.quantity, other.unit, values, essential=False))
        return Sheet(caption, tuple(columns))

    def _kinds(self, points: Sequence[Point]) -> Iterator[Column]:
        """The columns of run and profile, essential if there are several."""
        for name in ("run", "profile"):
            several = len({getattr(point, name) for point in self.points}) > 1
            cells = tuple(getattr(point, name) for point in points)
            yield Column(name, cells, kind="name", essential=several)

    def options(self) -> ExploreOptions:
        """See :class:`Result`; without a seed that nothing is drawn with."""
        request = self.request
        profiles: dict[str, Any] = {"profile": request.profiles} if request.profiles else {}
        if request.one_front:
            profiles["one_front"] = True
        return ExploreOptions(
            over=request.over,
            budget=request.budget,
            chips=request.chips,
            final_chips=request.final_chips,
            cost=request.cost,
            seed=request.seed if self.designs > request.budget else 0,
            **profiles,
        )

    @property
    def other_runs(self) -> tuple[str, ...]:
        """Folders of the other subjects of the command."""
        return self.request.runs[1:]

    def hover(self) -> dict[str, list[str]]:
        """See :class:`Result`."""
        metric, cost = self.facts.measured, self.objective
        numbers = {id(point): n for n, point in enumerate(self.numbered, start=1)}

        def text(point: Point) -> str:
            lines = [
                f"design {numbers[id(point)]}: {point.kind}",
                point.changes,
                f"{cost.title}: {quantity(cost.of(point), cost.unit)}",
                f"{metric.title}: {point.score.with_unit(metric)}",
            ]
            if point.prices:
                lines.append(f"Costs: {point.prices}")
            if point.dominated_by:
                lines.append(f"Not significantly better than design {point.dominated_by}")
            return "\n".join(lines)

        return {DESIGNS: [text(point) for point in self.points]}

    @property
    def layout(self) -> Layout:
        """See :class:`Shown`."""
        return figures.pareto_front.layout_of(self)

    def draw(self, panels: Panels) -> None:
        """See :func:`cimsim.analysis.figures.pareto_front.draw_front`."""
        figures.pareto_front.draw_front(panels, self)

    @classmethod
    def upgrade(cls, fields: dict[str, Any], path: Path) -> dict[str, Any]:
        """See :class:`Result`."""
        if "request" in fields:
            return fields
        request = {"profiles" if k == "devices" else k: v for k, v in fields["asked"].items()}
        points = [
            {"profile" if k == "device" else k: v for k, v in point.items()}
            for point in fields["points"]
        ]
        return {**fields, "request": request, "points": points}


def explore(
    space: Space,
    evaluation: Evaluation = Evaluation(chips=3),  # noqa: B008
    *,
    budget: int = 40,
    final_chips: int = 10,
    cost: str = "energy",
    seed: int = 0,
    one_front: bool = False,
) -> Exploration:
    """Evaluate up to ``budget`` designs, and those on the fronts on ``final_chips`` chips.

    Args:
        space: the designs to choose from.
        evaluation: the chips during the search; its profile is not used.
        budget: number of designs to evaluate; all of them if the space holds no more.
        final_chips: number of chips for those on the front in the end.
        cost: ``energy``, ``latency`` or ``area``.
        seed: seed of the search.
        one_front: whether designs with different kinds of prices share a front; otherwise, each
            class of prices has a front, see
            :data:`cimsim.analysis.cost.provenance.PRICE_CLASSES`.

    Raises:
        CimsimError: if there is no such cost, a profile rejects a level, or the space is larger
            than ``budget`` and Optuna is not installed.
    """
    if cost not in OBJECTIVES:
        raise CimsimError(unknown("cost", cost, OBJECTIVES))
    evaluator = DesignEvaluator(space, OBJECTIVES[cost], evaluation, one_front)
    total = min(budget, len(space))
    for design in proposals(space, total, seed, evaluator):
        evaluator.evaluate(design, evaluation.chips)
        evaluation.progress(len(evaluator.known), total, evaluator.name(design))
    # With more chips a design may leave the front, and another one take its place.
    while few := [
        design
        for design in evaluator.candidates()
        if evaluator.known[design].score.chips < final_chips
    ]:
        for design in few:
            evaluation.progress(total, total, f"front, {evaluator.name(design)}")
            evaluator.evaluate(design, final_chips)
    ranked = evaluator.points()
    facts = replace(
        facts_of(evaluator.plan),
        on=None,
        run=", ".join(dict.fromkeys(point.run for point in ranked)),
        checkpoint_sha256=", ".join(subject.fingerprint for subject in space.subjects),
        profile=", ".join(dict.fromkeys(point.profile for point in ranked)),
        chips=max(final_chips, evaluation.chips),
        digital=evaluator.digital,
    )
    request = SearchRequest(
        *space.cli_texts(), budget, evaluation.chips, final_chips, cost, seed, one_front
    )
    return Exploration(facts, request, len(space), ranked, tuple(evaluator.warnings))


def _refuse_without_effect(space: Space, options: ExploreOptions) -> None:
    """
    Raises:
        CimsimError: if a seed is given and nothing is drawn, or fewer final chips than chips.
    """
    if options.gives("seed") and len(space) <= options.budget:
        raise CimsimError(
            f"--seed applies to a search only, but all {len(space)} designs are evaluated; reduce "
            "--budget, or leave --seed out"
        )
    if options.gives("final_chips") and options.final_chips < options.chips:
        raise CimsimError(
            f"--final-chips {options.final_chips} must be at least --chips {options.chips}, on "
            "which every design is evaluated; leave it out, or reduce --chips"
        )


def _run(
    subjects: Sequence[Subject], evaluation: Evaluation, options: ExploreOptions
) -> Exploration:
    profiles = tuple(map(cimsim.profile.load_profile, options.profile)) or (None,)
    space = Space(tuple(subjects), profiles, tuple(map(parse_axis, options.over)))
    _refuse_without_effect(space, options)
    return explore(
        space,
        replace(evaluation, chips=options.chips),
        budget=options.budget,
        final_chips=options.final_chips,
        cost=options.cost,
        seed=options.seed,
        one_front=options.one_front,
    )


STUDY = Study(
    NAME,
    Exploration,
    "Accuracy against cost",
    "Accuracy against cost",
    "--over adc.bits=4,5,6,8",
    options=ExploreOptions,
    run=_run,
    several=True,
    open_table=True,
    optional=True,
)
