"""Accuracy against cost: the designs of a chip that no other design beats in both.

A design is one of several models on one of several profiles, with a level for each of several axes:
training method, profile, ADC bits, tile size. If there are more designs than may be evaluated,
Optuna's tree-structured Parzen estimator chooses (S. Watanabe, "Tree-Structured Parzen Estimator",
arXiv:2304.11127). Its draws follow from the seed, and every trial is kept in its subject's folder;
so a search that was stopped repeats its finished part at no cost.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cimsim
from cimsim.analysis import figures
from cimsim.analysis.evaluation import Evaluation
from cimsim.analysis.sheet import Column, Sheet
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
from cimsim.suggest import unknown

if TYPE_CHECKING:
    from cimsim.analysis.figures.canvas import Layout, Panels
    from cimsim.analysis.subjects import Subject

NAME = EXPLORE
DESIGNS = "designs"
"""The name (``gid``) of the designs in the figure, the cheapest first."""


class ExploreOptions(Options):
    """Search designs of a chip (run, profile, converters, tiles) for accuracy at low cost.

    If there are more designs than --budget, Optuna chooses those to evaluate (pip install optuna).
    Trials are kept in each RUN/explore/: run the same command again to resume, or with a larger
    budget to add to them. The front is written to the folder of the first run.
    """

    over: tuple[str, ...] = option(
        ...,
        "Choices of a design, such as adc.bits=4,5,6,8 or array.rows=128,256,512; can be repeated.",
        metavar="KEY=LEVELS",
    )
    profile: tuple[str, ...] = option(
        (),
        "Profile to choose from: a name or a file; can be repeated.",
        metavar="PROFILE",
        default_text="each run's own",
        old_flag="--on",
    )
    budget: int = option(40, "Maximum number of designs to evaluate.", ge=2)
    chips: int = option(3, "Number of chips for each design.", ge=1)
    final_chips: int = option(10, "Number of chips for each design on the front.", ge=1)
    cost: str = option("energy", "Cost to minimize.", metavar="energy|latency|area")
    seed: int = option(0, "Seed of the search.", ge=0)


@dataclass(frozen=True)
class SearchRequest:
    """The request that an exploration answers.

    Attributes:
        runs: folders of the subjects.
        profiles: profiles to choose from, as on the command line; none for each subject's own.
        over: the axes with their levels, as on the command line.
        budget, chips, final_chips, cost, seed: see :func:`explore`.
    """

    runs: tuple[str, ...]
    profiles: tuple[str, ...]
    over: tuple[str, ...]
    budget: int
    chips: int
    final_chips: int
    cost: str
    seed: int


@dataclass(frozen=True)
class Exploration(StudyResult):
    """The evaluated designs, the cheapest first.

    Attributes:
        facts: names and hashes of all subjects and profiles, the chips of the designs on the front,
            and the digital metric of the best subject.
        designs: number of designs in all, evaluated or not.
        warnings: warnings about the costs, see :class:`cimsim.analysis.cost.Cost`.
    """

    facts: Facts
    request: SearchRequest
    designs: int
    points: tuple[Point, ...]
    warnings: tuple[str, ...] = ()

    stem = "explore/explore"

    @property
    def objective(self) -> CostObjective:
        """The cost that was minimized."""
        return OBJECTIVES[self.request.cost]

    @property
    def answer(self) -> str:
        """The numbers of designs in words."""
        count = len(self.front)
        evaluated = f"{len(self.points)} of {self.designs} designs were evaluated"
        return f"{evaluated}; {count} {'is' if count == 1 else 'are'} on the front."

    @property
    def front(self) -> tuple[Point, ...]:
        """The points that no other point beats in both."""
        return tuple(point for point in self.points if point.on_front)

    def rows(self) -> Iterator[Sequence[object]]:
        """Yield one row for each design, the heading first."""
        yield [
            *("on_front", "run", "profile", "changes", "energy_pJ", "latency_ns", "area_um2"),
            *("chips", "mean", "std", "worst"),
        ]
        for p in self.points:
            score = [p.score.chips, p.score.mean, p.score.std, p.score.worst]
            costs = [p.energy_pJ, p.latency_ns, p.area_um2]
            yield [int(p.on_front), p.run, p.profile, p.changes, *costs, *score]

    def sheet(self) -> Sheet:
        """The designs on the front, with their numbers in the figure."""
        metric, cost, front = self.facts.measured, self.objective, self.front
        numbers = tuple(str(number) for number, _ in enumerate(front, start=1))
        columns = (
            Column("front", numbers),
            Column("run", tuple(point.run for point in front), kind="name"),
            Column("profile", tuple(point.profile for point in front), kind="name"),
            Column("changes", tuple(point.changes for point in front), kind="text"),
            Column(cost.title.lower(), tuple(f"{cost.of(x):.4g}" for x in front), cost.unit),
            means("mean", (point.score for point in front), metric),
            means("worst chip", (x.score.worst for x in front), metric, essential=False),
        )
        return Sheet(f"{self.facts.caption}{self.facts.plus_minus}", columns)

    def options(self) -> ExploreOptions:
        """See :class:`Result`."""
        request = self.request
        profiles = {"profile": request.profiles} if request.profiles else {}
        return ExploreOptions(
            over=request.over,
            budget=request.budget,
            chips=request.chips,
            final_chips=request.final_chips,
            cost=request.cost,
            seed=request.seed,
            **profiles,
        )

    @property
    def other_runs(self) -> tuple[str, ...]:
        """Folders of the further subjects, which the command is given too."""
        return self.request.runs[1:]

    def hover(self) -> dict[str, list[str]]:
        """See :class:`Result`."""
        metric, cost = self.facts.measured, self.objective
        return {
            DESIGNS: [
                f"{point.kind}\n{point.changes}\n{cost.title}: {cost.of(point):.4g} {cost.unit}\n"
                f"{metric.title}: {point.score.with_unit(metric)}"
                for point in self.points
            ]
        }

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
) -> Exploration:
    """Evaluate up to ``budget`` designs, and those on the front on ``final_chips`` chips.

    Args:
        space: the designs to choose from.
        evaluation: the chips during the search; its profile is not used.
        budget: number of designs to evaluate; all of them if the space holds no more.
        final_chips: number of chips for those on the front in the end.
        cost: ``energy``, ``latency`` or ``area``.
        seed: seed of the search.

    Raises:
        CimsimError: if there is no such cost, a profile rejects a level, or the space is larger
            than ``budget`` and Optuna is not installed.
    """
    if cost not in OBJECTIVES:
        raise CimsimError(unknown("cost", cost, OBJECTIVES))
    evaluator = DesignEvaluator(space, OBJECTIVES[cost], evaluation)
    total = min(budget, len(space))
    for design in proposals(space, total, seed, evaluator):
        evaluator.evaluate(design, evaluation.chips)
        evaluation.progress(len(evaluator.known), total, evaluator.name(design))
    points = evaluator.points()
    # With more chips a point may leave the front, and another one take its place.
    while few := [d for d, p in points.items() if p.on_front and p.score.chips < final_chips]:
        for design in few:
            evaluation.progress(total, total, f"front, {evaluator.name(design)}")
            evaluator.evaluate(design, final_chips)
        points = evaluator.points()
    ranked = tuple(points.values())
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
        *space.cli_texts(), budget, evaluation.chips, final_chips, cost=cost, seed=seed
    )
    return Exploration(facts, request, len(space), ranked, tuple(evaluator.warnings))


def _run(
    subjects: Sequence[Subject], evaluation: Evaluation, options: ExploreOptions
) -> Exploration:
    profiles = tuple(map(cimsim.profile.load_profile, options.profile)) or (None,)
    return explore(
        Space(tuple(subjects), profiles, tuple(map(parse_axis, options.over))),
        replace(evaluation, chips=options.chips),
        budget=options.budget,
        final_chips=options.final_chips,
        cost=options.cost,
        seed=options.seed,
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
