"""The life of a chip: a run's metric over the age of its chips, and what keeps it up.

Every way to keep a chip up meets the same chips, with the same drift:

* drift compensation: none, one digital factor for each layer, or one for each column (see
  :class:`cimsim.profile.ArraySpec`); that of the profile, and those that it has not;
* on top of the profile's own, what is measured anew on the aged chip at every age, with the batches
  of training data that had set the converters (:mod:`cimsim.analysis.upkeep`): the full scales of
  the converters, the statistics of batch normalization, or both.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from cimsim.analysis.grid import at, grid
from cimsim.analysis.levels import Axis, Level
from cimsim.analysis.plot import Curve, draw
from cimsim.analysis.stats import Summary, summary
from cimsim.analysis.store import LIFE
from cimsim.analysis.study import (
    Evaluation,
    Facts,
    Result,
    Sheet,
    facts_of,
    read_result,
    scores,
)
from cimsim.analysis.upkeep import possible_upkeep
from cimsim.errors import CimsimError
from cimsim.nn import Assignment, set_profile
from cimsim.profile import Profile, effects, override_profile
from cimsim.training.run import Run
from cimsim.units import format_duration, parse_duration

NAME = "life"
AS_IT_IS = "as it is"
WAY = "way"
"""What the curves of its figure are of, see :func:`cimsim.analysis.plot.part_of`."""
_COMPENSATIONS = {
    "none": "without compensation",
    "global": "compensated per layer",
    "per-column": "compensated per column",
}
_ANEW = "anew: "
_AND = " and "


@dataclass(frozen=True)
class CareAxis(Axis):
    """Ways to keep a chip up, by name: ``as it is``, ``without compensation``, ``compensated per
    layer``, ``compensated per column``, ``anew: ranges and statistics``."""

    def apply(self, profile: Profile, level: Level) -> Profile:
        """The device with another drift compensation, where the level is one."""
        for kind, name in _COMPENSATIONS.items():
            if level == name:
                change = {"array.drift_compensation": kind}
                if kind == "none":
                    change["array.drift_probe"] = "exact"
                return override_profile(profile, change)
        return profile

    def upkeep(self, level: Level) -> tuple[str, ...]:
        """What is measured anew, where the level says so."""
        name = str(level)
        return tuple(name.removeprefix(_ANEW).split(_AND)) if name.startswith(_ANEW) else ()


@dataclass(frozen=True)
class Course:
    """How one way to keep the chips up goes: a summary for every age."""

    name: str
    points: tuple[Summary, ...]


@dataclass(frozen=True)
class Life(Result):
    """The metric of one run over the age of its chips.

    Attributes:
        ages_s: seconds since programming.
        compensation: the drift compensation of the profile; that of the course ``as it is``.
        courses: that one first.
    """

    facts: Facts
    ages_s: tuple[float, ...]
    compensation: str
    courses: tuple[Course, ...]

    def table(self) -> Iterator[Sequence[object]]:
        """One row for each way and age, the heading first."""
        yield ["way", "age_s", "chips", "mean", "std", "half_width", "worst"]
        for course in self.courses:
            for age_s, p in zip(self.ages_s, course.points, strict=True):
                yield [course.name, age_s, p.chips, p.mean, p.std, p.half_width, p.worst]

    def sheet(self) -> Sheet:
        """One row for each age, one column for each way."""
        metric = self.facts.measured
        rows = tuple(
            (format_duration(age_s), *(c.points[index].shown(metric) for c in self.courses))
            for index, age_s in enumerate(self.ages_s)
        )
        headings = ("age", *map(self.label, self.courses))
        return Sheet(self.facts.caption, headings, rows, range(len(headings)))

    def label(self, course: Course) -> str:
        """The course in words: the first with the compensation that it has."""
        if course.name != AS_IT_IS:
            return course.name
        return f"{AS_IT_IS} ({_COMPENSATIONS[self.compensation]})"


def life(
    run: Run,
    evaluation: Evaluation = Evaluation(),  # noqa: B008
    from_s: float = 1.0,
    to_s: float = 315_576_000.0,
    points: int = 10,
) -> Life:
    """Evaluate ``run`` at ``points`` ages from ``from_s`` to ``to_s``, evenly spaced in their
    logarithm, in every way that its device and model know.

    Raises:
        CimsimError: if nothing in the device changes with age, the ages make no sense, or as
            :func:`cimsim.analysis.sweep.sweep`.
    """
    devices = evaluation.devices(run)
    if not any(map(ages, devices.profiles)):
        raise CimsimError(
            f"{devices.name} has neither drift nor read noise that grows with age, so its chips do "
            "as well after ten years as when they were new"
        )
    if not (0 < from_s < to_s and points >= 2):
        raise CimsimError(
            "a life needs at least 2 ages, from one above 0 to a later one, such as --from 1s "
            "--to 10y --points 10"
        )
    steps = np.linspace(math.log(from_s), math.log(to_s), points).tolist()
    ages_s = (from_s, *(_rounded(math.exp(step)) for step in steps[1:-1]), to_s)
    evaluation.load_data(run)
    ways = CareAxis("care", ways_of(run, devices))
    time = Axis("time", ages_s)
    sweep = evaluation.sweep(run, grid(ways, time, LIFE))
    facts, found = facts_of(sweep.plan, evaluation), scores(sweep)

    def course(way: Level) -> Course:
        each = (summary(age_s, found[at(way, age_s)], facts.measured.falls) for age_s in ages_s)
        return Course(str(way), tuple(each))

    courses = tuple(map(course, ways.values))
    return Life(facts, ages_s, devices.profile.array.drift_compensation, courses)


def _rounded(age_s: float) -> float:
    """An age in two digits of the unit that it is written in."""
    number, unit = format_duration(age_s).split()
    return parse_duration(f"{float(number):.2g} {unit}")


def drifts(devices: Assignment) -> bool:
    """Whether conductances of any layer change with age."""
    return any(_drifts(profile) for profile in devices.profiles)


def _drifts(profile: Profile) -> bool:
    return any(effect.strength for effect in profile.cell.drift)


def ages(profile: Profile) -> bool:
    """Whether anything changes with age: conductances, or how noisy their reads are."""
    return any(effect.depends_on_age and effect.strength for _, effect in effects(profile))


def ways_of(run: Run, devices: Assignment) -> tuple[str, ...]:
    """The ways to keep the chips of ``run`` up on these devices; without drift there is nothing to
    compensate."""
    names = [AS_IT_IS]
    if drifts(devices):
        own = devices.profile.array.drift_compensation
        names += [name for kind, name in _COMPENSATIONS.items() if kind != own]
    possible = possible_upkeep(set_profile(run.new_model(), devices))
    names += [_ANEW + way for way in possible]
    if len(possible) > 1:
        names.append(_ANEW + _AND.join(possible))
    return tuple(names)


def draw_life(found: Life) -> Figure:
    """A curve for every way over age; the first, as it is, with the band of its chips."""
    digital = found.facts.digital
    curves = [Curve(found.label(c), digital, c.points) for c in found.courses]
    figure = draw(curves, Axis("time", found.ages_s), found.facts.measured, banded=1, of=WAY)
    title = found.facts.where
    if found.facts.chips > 1:
        title += "\nband and worst chip are those of the first curve"
    figure.axes[0].set_title(title, fontsize=11, loc="left")
    return figure


def read_life(run: Path) -> Life:
    """The life of the run in the folder ``run``.

    Raises:
        CimsimError: if there is none, or it is damaged.
    """
    return read_result(run / LIFE / f"{NAME}.json", Life, f"cimsim life {run}")
