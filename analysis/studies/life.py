"""Life of a chip: a model's metric over the age of its chips, with and without maintenance.

Every kind of maintenance is evaluated on the same chips, with the same drift:

* drift compensation: none, one digital factor for each layer, or one for each column (see
  :class:`cimsim.profile.ArraySpec`); the profile's own and the others;
* on top of the profile's own, settings that are measured again on the aged chip at every age, with
  the training data that the converters were calibrated with: the full scales of the converters, the
  statistics of batch normalization and denoisers, or both;
* and any adaptation to the aged chip that is given (:func:`cimsim.adapt`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cimsim
from cimsim.adaptation.recipe import BUDGET, Recipe, split_parts
from cimsim.analysis import figures
from cimsim.analysis.evaluation import Evaluation
from cimsim.analysis.headline import AGE, Headline, brief
from cimsim.analysis.sheet import Column, Sheet
from cimsim.analysis.study import (
    Facts,
    Options,
    Study,
    StudyResult,
    facts_of,
    option,
)
from cimsim.analysis.sweeps.axis import Axis, Level, VariantsAxis
from cimsim.analysis.sweeps.grid_axis import at, grid
from cimsim.analysis.sweeps.stats import Summary, means, summary
from cimsim.errors import CimsimError
from cimsim.units import format_duration, parse_duration, typed_duration

if TYPE_CHECKING:
    from torch import nn

    from cimsim.analysis.figures.canvas import Layout, Panels
    from cimsim.analysis.figures.curves import Curve
    from cimsim.analysis.subjects import Subject
    from cimsim.nn import Assignment
    from cimsim.profile import Profile

NAME = "life"
AS_IN_PROFILE = "as in the profile"
WAY = "way"
"""Part of the figure, see :func:`cimsim.analysis.figures.canvas.part_of`."""
_COMPENSATIONS = {
    "none": "without compensation",
    "global": "compensated per layer",
    "per-column": "compensated per column",
}
RANGES, STATISTICS = "ranges", "statistics"
_AGAIN = " measured again"
_ADAPTED = "adapted: "
_AND = " and "
# Trials are identified by these words of version 0.1.0.
_KEPT_AS_IN_PROFILE, _KEPT_AGAIN = "as it is", "anew: "


class LifeOptions(Options):
    """Evaluate a run while its chips age.

    It is evaluated with each kind of drift compensation, without compensation, and with converter
    ranges and batch statistics measured again on the aged chip. Results are written to RUN/life/.
    Finished trials are kept: run the same command again to resume.
    """

    start: str = option("1s", "First age.", flag="--from", metavar="TIME")
    stop: str = option("10y", "Last age.", flag="--to", metavar="TIME")
    points: int = option(
        10, "Number of ages, evenly spaced in their logarithm.", ge=2, in_name=False
    )
    care: tuple[str, ...] = option(
        (),
        "Adaptation to the chip at each age, in addition: parts such as gain-offset,affine (see "
        "cimsim adapt); can be repeated.",
        metavar="PARTS",
    )
    budget: int | None = option(
        None,
        "Maximum number of batches that each part of --care runs on the chip.",
        ge=1,
        default_text=str(BUDGET),
        only_with="care",
    )


@dataclass(frozen=True)
class MaintenanceAxis(VariantsAxis):
    """Kinds of maintenance; :func:`curve_name` returns the name of a level.

    ``as in the profile``, ``without compensation``, ``compensated per layer``, ``compensated per
    column``, ``ranges measured again`` and ``statistics measured again`` (of converters or of batch
    normalization, at each age), and ``adapted: PARTS`` (parts of an adaptation are applied at each
    age). The adaptations of the last three are in ``recipes``.
    """

    recipes: Mapping[str, Recipe] = field(default_factory=dict)

    def apply(self, profile: Profile, level: Level) -> Profile:
        """The profile with another drift compensation, if the level is one."""
        for kind, name in _COMPENSATIONS.items():
            if level == name:
                change = {"array.drift_compensation": kind}
                if kind == "none":
                    change["array.drift_probe"] = "exact"
                return cimsim.profile.override_profile(profile, change)
        return profile

    def adaptation(self, level: Level) -> Recipe | None:
        """The adaptation to the aged chip, if the level has one."""
        return self.recipes.get(str(level))

    def named(self, level: Level) -> str:
        """The name of its curve."""
        return curve_name(str(level))


def curve_name(level: str) -> str:
    """The name of the curve of a level; a name stays the same.

    >>> curve_name("anew: ranges")
    'ranges measured again'
    """
    if level == _KEPT_AS_IN_PROFILE:
        return AS_IN_PROFILE
    what = level.removeprefix(_KEPT_AGAIN)
    return level if what == level else what + _AGAIN


@dataclass(frozen=True)
class LifeCurve:
    """The metric under one kind of maintenance: a summary for every age."""

    name: str
    points: tuple[Summary, ...]


@dataclass(frozen=True)
class Life(StudyResult):
    """The metric of one subject over the age of its chips.

    Attributes:
        ages_s: seconds since programming.
        compensation: the drift compensation of the profile.
        curves: one for each kind of maintenance, ``as in the profile`` first.
        care, budget: see :class:`LifeOptions`.
    """

    facts: Facts
    ages_s: tuple[float, ...]
    compensation: str
    curves: tuple[LifeCurve, ...]
    care: tuple[str, ...] = ()
    budget: int = BUDGET

    stem = "life/life"

    def rows(self) -> Iterator[Sequence[object]]:
        """Yield one row for each kind of maintenance and age, the heading first."""
        yield ["way", "age_s", "chips", "mean", "std", "half_width", "worst"]
        for curve in self.curves:
            for age_s, p in zip(self.ages_s, curve.points, strict=True):
                yield [curve.name, age_s, p.chips, p.mean, p.std, p.half_width, p.worst]

    def sheet(self) -> Sheet:
        """One row for each age, one column for each kind of maintenance."""
        ages, metric = tuple(map(format_duration, self.ages_s)), self.facts.measured
        curves = (means(self.label(curve), curve.points, metric) for curve in self.curves)
        caption = f"{self.facts.caption}{self.facts.plus_minus}"
        return Sheet(caption, (Column("age", ages), *curves))

    def label(self, curve: LifeCurve) -> str:
        """Describe a curve; the first with the compensation of the profile."""
        if curve.name != AS_IN_PROFILE:
            return curve.name
        return f"{_COMPENSATIONS[self.compensation]} ({AS_IN_PROFILE})"

    def options(self) -> LifeOptions:
        """See :class:`Result`."""
        start, stop = (typed_duration(self.ages_s[end]) for end in (0, -1))
        budget = self.budget if self.care and self.budget != BUDGET else None
        given: dict[str, Any] = {"care": self.care, "budget": budget}
        return LifeOptions(start=start, stop=stop, points=len(self.ages_s), **given)

    def hover(self) -> dict[str, list[str]]:
        """See :class:`Result`."""
        metric = self.facts.measured
        return {
            figures.canvas.part_of(number, "mean", WAY): [
                f"{self.label(curve)}\n{format_duration(age_s)}: {point.with_unit(metric)}"
                for age_s, point in zip(self.ages_s, curve.points, strict=True)
            ]
            for number, curve in enumerate(self.curves)
        }

    @property
    def layout(self) -> Layout:
        """See :class:`Shown`."""
        return figures.curves.layout_of(self._drawn)

    def draw(self, panels: Panels) -> None:
        """Draw a curve over age for every kind of maintenance; the first with the band of its
        chips."""
        facts = self.facts
        axis = Axis("time", self.ages_s)
        figures.curves.draw_on(panels, self._drawn, axis, facts.measured, banded=1, of=WAY)
        title = facts.where
        if facts.chips > 1:
            title += "\nthe band and the worst chip belong to the first curve"
        panels.title(title)

    @property
    def _drawn(self) -> list[Curve]:
        digital = self.facts.digital
        return [figures.curves.Curve(self.label(c), digital, c.points) for c in self.curves]

    @property
    def headline(self) -> Headline:
        """The metric of the oldest chips, as they are."""
        facts, metric, points = self.facts, self.facts.measured, self.curves[0].points
        oldest = brief(metric, points[-1].mean)
        sentence = (
            f"From {format_duration(self.ages_s[0])} to {format_duration(self.ages_s[-1])} after "
            f"programming, its {metric.title.lower()} changes from "
            f"{brief(metric, points[0].mean)} to {oldest} (mean of {facts.in_words})."
        )
        what = f"{metric.title.lower()} {format_duration(self.ages_s[-1])} after programming"
        return Headline(AGE, sentence, oldest, what, facts.weight / 2)

    @property
    def warnings(self) -> tuple[str, ...]:
        """See :class:`Result`."""
        if any(curve.name in _COMPENSATIONS.values() for curve in self.curves):
            return ()
        return (f"{self.facts.profile} has no drift; only its read noise grows with age",)

    @classmethod
    def upgrade(cls, fields: dict[str, Any], path: Path) -> dict[str, Any]:
        """See :class:`Result`."""
        given = {"curves" if key == "courses" else key: value for key, value in fields.items()}
        curves = [{**curve, "name": curve_name(curve["name"])} for curve in given["curves"]]
        return {**given, "curves": curves}


def life(
    subject: Subject,
    evaluation: Evaluation = Evaluation(),  # noqa: B008
    from_s: float = 1.0,
    to_s: float = 315_576_000.0,
    points: int = 10,
    care: Sequence[str] = (),
    budget: int = BUDGET,
) -> Life:
    """Evaluate ``subject`` at ``points`` ages from ``from_s`` to ``to_s``, evenly spaced in their
    logarithm, under every kind of maintenance that its profile and model allow.

    Args:
        subject: what to evaluate.
        evaluation: on which chips.
        from_s, to_s, points: the ages.
        care: adaptations to the chip at each age, in addition, each as parts in one text.
        budget: maximum number of batches that each part of them runs on the chip.

    Raises:
        CimsimError: if nothing in the profile changes with age, the ages are not rising, a part is
            unknown or does not apply, or as :func:`cimsim.analysis.sweeps.sweep.sweep`.
    """
    assignment = evaluation.assignment(subject)
    if not any(map(ages, assignment.profiles)):
        raise CimsimError(
            f"{assignment.name} has neither drift nor read noise that grows with age, so its chips "
            "do not change with age"
        )
    if not (0 < from_s < to_s and points >= 2):
        raise CimsimError(
            "a study of the life of chips needs at least 2 ages, from one above 0 to a later one, "
            "such as --from 1s --to 10y --points 10"
        )
    low, high = math.log(from_s), math.log(to_s)
    steps = [low + (high - low) * step / (points - 1) for step in range(1, points - 1)]
    ages_s = (from_s, *(_rounded(math.exp(step)) for step in steps), to_s)
    recipes = maintenance_of(subject, assignment) | _care(subject, assignment, care, budget)
    names = (*compensations_of(assignment), *recipes)
    kinds = MaintenanceAxis("care", names, recipes)
    sweep = evaluation.sweep(subject, grid(kinds, Axis("time", ages_s), NAME))
    facts, values = facts_of(sweep.plan), sweep.values()

    def curve(kind: Level) -> LifeCurve:
        each = (summary(age_s, values[at(kind, age_s)], facts.measured.falls) for age_s in ages_s)
        return LifeCurve(kinds.named(kind), tuple(each))

    compensation = assignment.profile.array.drift_compensation
    curves = tuple(map(curve, kinds.values))
    return Life(facts, ages_s, compensation, curves, tuple(care), budget)


def _rounded(age_s: float) -> float:
    """Round an age to two digits of the unit that it is written in."""
    number, unit = format_duration(age_s).split()
    return parse_duration(f"{float(number):.2g} {unit}")


def drifts(assignment: Assignment) -> bool:
    """Whether the conductances of any layer change with age."""
    return any(_drifts(profile) for profile in assignment.profiles)


def _drifts(profile: Profile) -> bool:
    return any(effect.strength for effect in profile.cell.drift)


def ages(profile: Profile) -> bool:
    """Whether anything changes with age: conductances, or the noise of their reads."""
    return any(
        effect.depends_on_age and effect.strength for _, effect in cimsim.profile.effects(profile)
    )


def compensations_of(assignment: Assignment) -> tuple[str, ...]:
    """The drift compensations to compare on ``assignment``, its own first; without drift there is
    nothing to compensate."""
    own = assignment.profile.array.drift_compensation
    others = [name for kind, name in _COMPENSATIONS.items() if kind != own]
    return (_KEPT_AS_IN_PROFILE, *(others if drifts(assignment) else ()))


def maintenance_of(subject: Subject, assignment: Assignment) -> dict[str, Recipe]:
    """The settings of ``subject`` on ``assignment`` that can be measured again: ranges that are
    neither fixed nor learned, statistics, and both; each with its recipe."""
    batches = len(subject.calibration())
    if not batches:
        return {}
    model = cimsim.nn.set_profile(subject.skeleton(), assignment)
    parts = {
        name: tuple(f"{part}:batches={batches}" for part in of)
        for name, of in measured_again(model).items()
    }
    recipes = {_KEPT_AGAIN + name: Recipe(of, batches) for name, of in parts.items()}
    if len(parts) > 1:
        every = tuple(part for of in parts.values() for part in of)
        recipes[_KEPT_AGAIN + _AND.join(parts)] = Recipe(every, batches)
    return recipes


def measured_again(model: nn.Module) -> dict[str, tuple[str, ...]]:
    """The settings that ``model`` has and that can be measured again, each with the parts of an
    adaptation that do it."""
    from cimsim.adaptation import possible_parts

    possible = set(possible_parts(model))
    if all(layer.denoiser is None for layer in cimsim.analog_layers(model).values()):
        possible.discard("gain-offset")  # which would add some
    of_setting = {RANGES: ("ranges",), STATISTICS: ("gain-offset", "batch-norm")}
    named = {name: tuple(p for p in parts if p in possible) for name, parts in of_setting.items()}
    return {name: parts for name, parts in named.items() if parts}


def _care(
    subject: Subject, assignment: Assignment, care: Sequence[str], budget: int
) -> dict[str, Recipe]:
    """The adaptations ``care`` by the names of their curves."""
    from cimsim.adaptation import chosen_parts

    recipes: dict[str, Recipe] = {}
    if care:
        model = cimsim.nn.set_profile(subject.skeleton(), assignment)
        for text in care:
            chosen = chosen_parts(model, split_parts(text))
            recipe = Recipe(tuple(spec for spec, _ in chosen), budget)
            recipes[_ADAPTED + recipe.text] = recipe
    return recipes


def _run(subjects: Sequence[Subject], evaluation: Evaluation, options: LifeOptions) -> Life:
    ends = parse_duration(options.start), parse_duration(options.stop)
    budget = options.budget or BUDGET
    return life(subjects[0], evaluation, *ends, options.points, options.care, budget)


STUDY = Study(NAME, Life, "Life of a chip", "Life of a chip", options=LifeOptions, run=_run)
