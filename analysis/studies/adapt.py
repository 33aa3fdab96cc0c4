"""Recovery of accuracy by adaptation to each chip: each part alone, and all together.

A chip is programmed and aged, and then adapted by :func:`cimsim.adapt` with training data of the
run; every adaptation starts from the same chip. The parts are measured alone and together, with
their cost: batches that were run on the chip, input vectors that its arrays multiplied, time, and
numbers and cells that were changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pydantic import field_validator

import cimsim
from cimsim.adaptation.recipe import BUDGET, DIGITAL, Recipe, Teacher, split_parts
from cimsim.analysis import figures
from cimsim.analysis.evaluation import Evaluation
from cimsim.analysis.headline import RECOVERY, Headline, brief
from cimsim.analysis.sheet import Column, Sheet, percentages, quantities
from cimsim.analysis.study import Facts, Options, Study, StudyResult, facts_of, option
from cimsim.analysis.sweeps.axis import Level, VariantsAxis
from cimsim.analysis.sweeps.stats import Summary, means, summary
from cimsim.errors import CimsimError
from cimsim.quantities import quantity

if TYPE_CHECKING:
    from cimsim.adaptation.part import Part
    from cimsim.analysis.figures.canvas import Layout, Panels
    from cimsim.analysis.subjects import Subject
    from cimsim.analysis.sweeps.store import Sweep
    from cimsim.profile import Profile

NAME = "adapt"
BEFORE = "before"
TOGETHER = "all together"
_COSTS = ("batches", "vectors", "seconds", "added", "changed", "written", "read")


class AdaptOptions(Options):
    """Adapt each chip of a run after programming, and evaluate it before and after.

    Each part is applied alone, and then all of them together, with training data of the run. By
    default, these are all parts that write no cells; --parts all adds those that do. `cimsim
    methods` lists the parts with their sources. Results are written to RUN/adapt/. Finished trials
    are kept: run the same command again to resume.
    """

    parts: str = option(
        DIGITAL,
        "Parts with their settings, such as ranges,low-rank:rank=8; 'digital' for all parts that "
        "write no cells, 'all' for all parts.",
        metavar="PARTS",
    )
    budget: int = option(BUDGET, "Maximum number of batches that each part runs on the chip.", ge=1)
    teacher: str = option(
        "digital",
        "Targets of parts that train: outputs of the digital model, or labels.",
        metavar="digital|labels",
    )
    overrides: tuple[str, ...] = option(
        (),
        "Change a value of the profile; can be repeated.",
        flag="--set",
        metavar="KEY=VALUE",
        in_name=False,  # part of the facts
    )
    seed: int = option(0, "Seed of all random numbers in the parts.", ge=0)

    @field_validator("teacher")
    @classmethod
    def _teacher(cls, value: str) -> str:
        if value not in ("digital", "labels"):
            raise ValueError("must be digital or labels")
        return value


@dataclass(frozen=True)
class RecipesAxis(VariantsAxis):
    """Adaptations by name, and the chip before any of them."""

    recipes: Mapping[str, Recipe] = field(default_factory=dict)

    def apply(self, profile: Profile, level: Level) -> Profile:
        """The same profile: chips are adapted, not changed."""
        return profile

    def adaptation(self, level: Level) -> Recipe | None:
        """The adaptation of that name."""
        return self.recipes.get(str(level))

    @property
    def counts_cost(self) -> bool:
        """See :class:`cimsim.analysis.sweeps.axis.Axis`."""
        return True


@dataclass(frozen=True)
class AdaptStep:
    """The metric after one adaptation, and its cost, the mean over chips.

    Attributes:
        name: its part with settings, or ``all together``.
        title: the same in words.
        after: the metric.
        gained: how much better than before, chip by chip.
        batches: batches that were run on the chip.
        vectors: input vectors that its arrays multiplied, those of all layers added up.
        seconds: time of the simulation.
        added, changed: digital numbers that were added, and changed.
        written: cells that were written.
        read: cells that were read one by one.
    """

    name: str
    title: str
    after: Summary
    gained: Summary
    batches: float
    vectors: float
    seconds: float
    added: float
    changed: float
    written: float
    read: float = 0.0


@dataclass(frozen=True)
class Recovery(StudyResult):
    """The metric of one subject before and after adaptations to each chip.

    Attributes:
        before: the metric before any adaptation.
        steps: each part alone, then all of them together.
        parts, budget, teacher, seed: see :class:`AdaptOptions`.
        overrides: changes of the profile, as on the command line.
    """

    facts: Facts
    parts: str
    budget: int
    teacher: str
    seed: int
    before: Summary
    steps: tuple[AdaptStep, ...]
    overrides: tuple[str, ...] = ()

    stem = "adapt/adapt"

    def rows(self) -> Iterator[Sequence[object]]:
        """Yield one row for each adaptation, the heading first."""
        of_metric = ["chips", "mean", "half_width", "worst", "gained", "gained_half_width"]
        yield ["adaptation", *of_metric, *_COSTS]
        b = self.before
        yield [BEFORE, b.chips, b.mean, b.half_width, b.worst, 0.0, 0.0, *[0] * len(_COSTS)]
        for step in self.steps:
            after, gained = step.after, step.gained
            row = [step.name, after.chips, after.mean, after.half_width, after.worst]
            costs = [getattr(step, of) for of in _COSTS]
            yield [*row, gained.mean, gained.half_width, *costs]

    def sheet(self) -> Sheet:
        """One row for each adaptation, and first a row for the chips before it."""
        metric, steps = self.facts.measured, self.steps

        def numbers(name: str, of: str, essential: bool = True) -> Column:
            cells = (f"{round(getattr(step, of)):,}" for step in steps)
            return Column(name, ("", *cells), essential=essential)

        columns = (
            Column("adaptation", (BEFORE, *(step.title for step in steps)), kind="name"),
            means(metric.title.lower(), (self.before, *(s.after for s in steps)), metric),
            means("gained", (None, *(step.gained for step in steps)), metric, lost=True),
            percentages("recovered", (None, *map(self.recovered, steps)), essential=False),
            numbers("batches", "batches"),
            numbers("vectors", "vectors", essential=False),
            quantities("time", "s", (None, *(step.seconds for step in steps)), essential=False),
            numbers("added", "added"),
            numbers("changed", "changed"),
            numbers("cells written", "written"),
            numbers("cells read", "read", essential=False),
        )
        return Sheet(f"{self.facts.caption}{self.facts.plus_minus}", columns)

    def recovered(self, step: AdaptStep) -> float | None:
        """The share of the loss to digital that ``step`` recovers; None without a loss."""
        metric, digital = self.facts.measured, self.facts.digital
        lost = metric.lost(digital, self.before.mean)
        return step.gained.mean / lost if lost > 0 else None

    @property
    def answer(self) -> str:
        """The last adaptation in words."""
        last, metric = self.steps[-1], self.facts.measured
        worked = "all parts together" if last.name == TOGETHER else last.title
        share = self.recovered(last) or 0.0
        words = f", {100 * share:.0f} % of the loss to digital" if share > 0 else ""
        return (
            f"{metric.title} is {self.before.with_unit(metric)} before, and "
            f"{last.after.with_unit(metric)} after {worked}{words}; each chip ran "
            f"{last.batches:.0f} batches, and {last.added + last.changed:,.0f} digital numbers "
            "were added or changed."
        )

    @property
    def headline(self) -> Headline:
        """The metric after the last adaptation."""
        facts, metric, last = self.facts, self.facts.measured, self.steps[-1]
        number = brief(metric, last.after.mean)
        verb = "rises" if last.after.mean >= self.before.mean else "falls"
        sentence = (
            f"Adapted to each chip after programming, its {metric.title.lower()} {verb} from "
            f"{brief(metric, self.before.mean)} to {number} (mean of {facts.in_words})."
        )
        what = f"{metric.title.lower()} after adaptation to each chip"
        return Headline(RECOVERY, sentence, number, what, facts.weight)

    def options(self) -> AdaptOptions:
        """See :class:`Result`; without a teacher and a seed that no part uses."""
        own = {name: getattr(self, name) for name in AdaptOptions.model_fields}
        usual = AdaptOptions()
        unused = self._unused()
        given = {k: v for k, v in own.items() if v != getattr(usual, k) and k not in unused}
        return AdaptOptions(**given)

    def _unused(self) -> set[str]:
        from cimsim.adaptation import PARTS

        names = {step.name.partition(":")[0] for step in self.steps} - {TOGETHER}
        parts = [PARTS.part(name) for name in names]
        uses = {"teacher": "learns", "seed": "draws"}
        return {k for k, does in uses.items() if not any(getattr(part, does) for part in parts)}

    def hover(self) -> dict[str, list[str]]:
        """See :class:`Result`."""
        metric = self.facts.measured
        texts = [f"{BEFORE}\n{self.before.with_unit(metric)}"]
        for step in self.steps:
            texts.append(
                f"{step.title}\n{step.after.with_unit(metric)}\ngained: "
                f"{step.gained.format(metric)}\n{step.batches:.0f} batches, "
                f"{quantity(step.seconds, 's')}, {step.added + step.changed:,.0f} numbers"
            )
        return {NAME: texts}

    @property
    def layout(self) -> Layout:
        """See :class:`Shown`."""
        return figures.canvas.row_layout(len(self.steps) + 1, 0.46, 1.9)

    def draw(self, panels: Panels) -> None:
        """Draw a bar for each adaptation, from the metric before to the one after; their ends are
        named (``gid``) ``adapt``."""
        facts, canvas, theme = self.facts, figures.canvas, figures.theme
        metric = facts.measured
        (axes,) = panels.axes
        levels = [self.before, *(step.after for step in self.steps)]
        ends, errors = [metric.factor * x.mean for x in levels], [x.error(metric) for x in levels]
        digital = metric.factor * facts.digital
        low = min([digital, *(e - h for e, h in zip(ends, errors, strict=True))])
        high = max([digital, *(e + h for e, h in zip(ends, errors, strict=True))])
        span = high - low or 1.0
        floor = max(0.0, low - 0.1 * span)
        axes.set_xlim(floor, high + 0.2 * span)
        places = canvas.row_places(len(levels))
        for place, end, number in zip(places, ends, range(len(ends)), strict=True):
            color = theme.color(0 if number == 0 else 2 if self._is_all(number) else 1)
            axes.barh(place, end - floor, left=floor, color=color, height=0.62)
        if facts.chips > 1:
            canvas.draw_intervals(axes, ends, places, errors)
        for place, end, error, level in zip(places, ends, errors, levels, strict=True):
            canvas.annotate(axes, metric.format(level.mean), end + error, place)
        axes.axvline(digital, color=theme.quiet(), linewidth=1.1, linestyle=":", zorder=0)
        canvas.name_points(axes, ends, places, NAME)
        canvas.name_rows(axes, places, [BEFORE, *(step.title for step in self.steps)])
        axes.set_xlabel(f"{metric.label}, axis cut at {floor:.3g}" if floor else metric.label)
        canvas.style(axes, "x")
        if floor:
            canvas.mark_cut(axes, places)
        panels.title(
            f"{facts.where}{facts.aged}\nadapted to each chip, mean of {facts.counted}"
            f"{facts.interval}; dotted: digital {metric.format(facts.digital)}"
        )

    def _is_all(self, number: int) -> bool:
        return number == len(self.steps) and self.steps[-1].name == TOGETHER


def recovery(
    subject: Subject,
    evaluation: Evaluation = Evaluation(),  # noqa: B008
    parts: str | Sequence[str] = DIGITAL,
    *,
    budget: int = BUDGET,
    teacher: Teacher = "digital",
    overrides: Sequence[str] = (),
    seed: int = 0,
) -> Recovery:
    """Adapt the chips of ``subject`` by each of ``parts`` alone, and by all together.

    Args:
        subject: what to evaluate.
        evaluation: on which chips, at which age.
        parts, budget, teacher, seed: see :func:`cimsim.adapt`.
        overrides: changes of the profile, such as ``["adc.bits=6"]``.

    Raises:
        CimsimError: if a part is unknown or has nothing to change, there is no training data, or as
            :func:`cimsim.analysis.sweeps.sweep.sweep`.
    """
    from cimsim.adaptation import PARTS

    chosen = _chosen(subject, evaluation, parts, overrides)
    if overrides:
        evaluation = _changed(subject, evaluation, overrides)
    if not subject.training(1):
        raise CimsimError(
            f"{subject.name} has no training data to adapt its chips with; "
            f"{subject.calibration_advice}"
        )

    def recipe(*chosen: tuple[str, Part]) -> Recipe:
        specs = tuple(spec for spec, _ in chosen)
        learns = any(part.learns for _, part in chosen)
        return Recipe(specs, budget, teacher if learns else "digital", seed)

    specs = [spec for spec, _ in chosen]
    alone = [recipe(each) for each in chosen]
    together = [recipe(*chosen)] if len(chosen) > 1 else []
    recipes = {each.text: each for each in alone + together}
    sweep = evaluation.sweep(subject, RecipesAxis(NAME, (BEFORE, *recipes), recipes))
    titles = [PARTS.part(spec.partition(":")[0]).title for spec in specs]
    names = [*zip(specs, titles, strict=True), (TOGETHER, TOGETHER)]
    facts = facts_of(sweep.plan)
    return Recovery(
        facts=facts,
        parts=parts if isinstance(parts, str) else ",".join(parts),
        budget=budget,
        teacher=teacher,
        seed=seed,
        before=summary(BEFORE, sweep.values()[BEFORE], facts.measured.falls),
        steps=tuple(
            _step(sweep, level, *name) for level, name in zip(recipes, names, strict=False)
        ),
        overrides=tuple(overrides),
    )


def _chosen(
    subject: Subject,
    evaluation: Evaluation,
    parts: str | Sequence[str],
    overrides: Sequence[str],
) -> list[tuple[str, Part]]:
    """The parts for the model of ``subject`` on the chips of ``evaluation``.

    Raises:
        CimsimError: if a part is unknown or has nothing to change.
    """
    from cimsim.adaptation import chosen_parts

    on = _changed(subject, evaluation, overrides) if overrides else evaluation
    model = cimsim.nn.set_profile(subject.skeleton(), on.assignment(subject))
    return chosen_parts(model, split_parts(parts))


def _step(sweep: Sweep, level: str, name: str, title: str) -> AdaptStep:
    from cimsim.analysis.sweeps.engine import COST

    metric, values = sweep.plan.measured, sweep.values()
    gained = list(map(metric.lost, values[level], values[BEFORE]))
    trials = [trial.scores for trial in sweep.trials if trial.level == level]
    costs = {of: sum(s.get(f"{COST}{of}", 0.0) for s in trials) / len(trials) for of in _COSTS}
    after = summary(level, values[level], metric.falls)
    return AdaptStep(name, title, after, summary(level, gained), **costs)


def _changed(subject: Subject, evaluation: Evaluation, overrides: Sequence[str]) -> Evaluation:
    """``evaluation`` with other values in the profiles.

    Raises:
        CimsimError: if a profile has no such key or rejects the value.
    """
    from cimsim.analysis.subjects import assignment_on
    from cimsim.profile import override_profile

    base = assignment_on(subject, evaluation.profile)
    return replace(evaluation, profile=base.map(lambda p: override_profile(p, list(overrides))))


def _refuse_without_effect(subject: Subject, evaluation: Evaluation, options: AdaptOptions) -> None:
    """
    Raises:
        CimsimError: if a teacher or a seed is given that none of the parts uses.
    """
    if not (options.gives("teacher") or options.gives("seed")):
        return
    from cimsim.adaptation.adapting import require_draws, require_learning

    parts = [part for _, part in _chosen(subject, evaluation, options.parts, options.overrides)]
    if options.gives("teacher"):
        require_learning("--teacher", parts)
    if options.gives("seed"):
        require_draws("--seed", parts)


def _run(subjects: Sequence[Subject], evaluation: Evaluation, options: AdaptOptions) -> Recovery:
    (subject,) = subjects
    _refuse_without_effect(subject, evaluation, options)
    given: dict[str, Any] = {name: getattr(options, name) for name in AdaptOptions.model_fields}
    return recovery(subject, evaluation, given.pop("parts"), **given)


STUDY = Study(
    NAME,
    Recovery,
    "Adapted to each chip",
    "Metric before and after adaptation to each chip",
    options=AdaptOptions,
    run=_run,
    function="recovery",
    optional=True,
)
