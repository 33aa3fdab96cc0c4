"""Error budget: the effect of each non-ideality of a profile on a trained model.

A budget is a sweep over variants of the profile: the whole one, one without any non-ideality, and
for each non-ideality the variant with only this one and the variant with all but this one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cimsim.analysis import figures
from cimsim.analysis.evaluation import Evaluation
from cimsim.analysis.headline import Headline
from cimsim.analysis.sheet import Column, Sheet
from cimsim.analysis.studies.effects import (
    BUDGET,
    DEFAULTS,
    EVERYTHING,
    NOTHING,
    ONLY,
    WITHOUT,
    EffectsAxis,
    NamedEffect,
    effects_axis,
    effects_of,
)
from cimsim.analysis.studies.shapley import attribute, effect_headline
from cimsim.analysis.studies.waterfall import waterfall
from cimsim.analysis.study import (
    Facts,
    Options,
    Study,
    StudyResult,
    facts_of,
    option,
)
from cimsim.analysis.sweeps.metric import Metric
from cimsim.analysis.sweeps.stats import Summary, means, summary
from cimsim.analysis.sweeps.store import Sweep
from cimsim.errors import CimsimError
from cimsim.units import format_duration

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from cimsim.analysis.figures.canvas import Layout, Panels
    from cimsim.analysis.subjects import Subject
    from cimsim.nn import Assignment

ALONE, REST = "this one alone", "all but this one"
"""Titles of the two panels of the figure, and names (``gid``) of their points."""


class BudgetOptions(Options):
    """Measure the effect of each non-ideality of a profile on a run.

    By default, the run is evaluated with each non-ideality alone, and with all but one. With
    --waterfall, they are enabled one after another; with --shapley, the loss is divided among them.
    All variants are evaluated on the same chips, and converters that change are calibrated
    again. Results are written to RUN/budget/. Finished trials are kept: run the same command again
    to resume, and with more chips to add to them.
    """

    waterfall: bool = option(
        False, "Enable them one after another, in physical order.", in_name=False
    )
    shapley: bool = option(
        False, "Divide the whole loss among them, independent of the order.", in_name=False
    )
    orders: int | None = option(
        None,
        "Number of orders to sample for --shapley; must be even.",
        default_text="all subsets if affordable",
        in_name=False,
        only_with="shapley",
        ge=2,
    )


@dataclass(frozen=True)
class ErrorShare(NamedEffect):
    """The effect of one non-ideality, in the sweep's metric, over the same chips.

    Attributes:
        name: as in :func:`cimsim.profile.non_idealities`.
        alone: the metric with this non-ideality only.
        rest: the metric with all but this one.
        lost: how much worse it is alone than without any.
        gained: how much better it is without it, chip by chip.
    """

    name: str
    alone: Summary
    rest: Summary
    lost: Summary
    gained: Summary


@dataclass(frozen=True)
class Budget(StudyResult):
    """The metric with everything and with nothing, and each non-ideality's share, the largest loss
    first."""

    facts: Facts
    everything: Summary
    nothing: Summary
    shares: tuple[ErrorShare, ...]

    stem = "budget/budget"

    def rows(self) -> Iterator[Sequence[object]]:
        """Yield one row for each non-ideality, the heading first."""
        yield ["non-ideality", "chips", "alone", "lost", "rest", "gained"]
        for share in self.shares:
            means = (part.mean for part in (share.alone, share.lost, share.rest, share.gained))
            yield [share.name, self.facts.chips, *means]

    def sheet(self) -> Sheet:
        """One row for each non-ideality, and first and last a row without any and with all."""
        metric, shares = self.facts.measured, self.shares
        total = metric.lost(self.nothing.mean, self.everything.mean)
        lost: list[Summary | float] = [0.0, *(share.lost for share in shares), total]
        gained = (None, *(share.gained for share in shares), None)
        alone = (self.nothing, *(share.alone for share in shares), self.everything)
        rest = (None, *(share.rest for share in shares), None)
        columns = (
            Column("non-ideality", ("none", *(x.title for x in shares), "all"), kind="name"),
            means("lost", lost, metric, lost=True),
            means("gained without it", gained, metric, lost=True),
            means("with it alone", alone, metric, essential=False),
            means("with all but it", rest, metric, essential=False),
        )
        return Sheet(f"{self.facts.caption}{self.facts.plus_minus}", columns)

    @property
    def headline(self) -> Headline | None:
        """The effect that costs most by itself."""
        return effect_headline(self.facts, self.shares[0].name, self.shares[0].lost, "by itself")

    def options(self) -> BudgetOptions:
        """See :class:`Result`."""
        return BudgetOptions()

    def hover(self) -> dict[str, list[str]]:
        """See :class:`Result`."""
        metric = self.facts.measured

        def texts(title: str, part: str, change: str) -> list[str]:
            return [
                f"{share.title_and_name}\n{title}: {getattr(share, part).with_unit(metric)}\n"
                f"{change}: {getattr(share, change).format(metric)}"
                for share in self.shares
            ]

        return {ALONE: texts(ALONE, "alone", "lost"), REST: texts(REST, "rest", "gained")}

    @property
    def layout(self) -> Layout:
        """See :class:`Shown`."""
        return figures.canvas.row_layout(len(self.shares), 0.42, 1.9, columns=2)

    def draw(self, panels: Panels) -> None:
        """Draw the metric with each non-ideality alone, and with all but each."""
        facts, canvas, theme = self.facts, figures.canvas, figures.theme
        metric, rows = facts.measured, len(self.shares)
        alone, rest = panels.axes
        alone.sharex(rest)
        places = canvas.row_places(rows)
        for axes, title, index, points in (
            (alone, ALONE, 0, [share.alone for share in self.shares]),
            (rest, REST, 1, [share.rest for share in self.shares]),
        ):
            _draw_points(axes, places, points, metric, index, title)
            for level, line, label in (
                (self.nothing, "--", "none of them"),
                (self.everything, "-", "all of them"),
            ):
                look: dict[str, Any] = {"color": theme.quiet(), "linewidth": 1.2, "linestyle": line}
                axes.axvline(metric.factor * level.mean, **look)
                axes.plot([], [], label=label, **look)
            axes.set_title(title)
            axes.set_xlabel(metric.label)
            canvas.style(axes, "x")
        canvas.name_rows(alone, places, [share.title for share in self.shares])
        panels.legend(rest)
        panels.title(
            f"{facts.where}, {format_duration(facts.age_s)} after programming\n"
            f"mean of {facts.counted}{facts.interval}"
        )


def _draw_points(
    axes: Axes,
    places: Sequence[float],
    levels: Sequence[Summary],
    metric: Metric,
    index: int,
    name: str,
) -> None:
    points, _, _ = axes.errorbar(
        [metric.factor * level.mean for level in levels],
        places,
        xerr=[level.error(metric) for level in levels],
        fmt=figures.theme.marker(index),
        color=figures.theme.color(index),
        capsize=3,
        markersize=6,
    )
    points.set_gid(name)


def budget_axis(assignment: Assignment) -> EffectsAxis:
    """Every variant that the budget of a model on ``assignment`` needs.

    Raises:
        CimsimError: if no profile has a non-ideality.
    """
    variants = [f"{kind}{name}" for name in effects_of(assignment) for kind in (ONLY, WITHOUT)]
    return effects_axis((EVERYTHING, NOTHING, *variants))


def budget(subject: Subject, evaluation: Evaluation = Evaluation()) -> Budget:  # noqa: B008
    """Evaluate ``subject`` on every variant of :func:`budget_axis`, always on the same chips.

    Raises:
        CimsimError: if the profile has no non-ideality, or as
            :func:`cimsim.analysis.sweeps.sweep.sweep`.
    """
    return budget_of(evaluation.sweep(subject, budget_axis(evaluation.assignment(subject))))


def budget_of(sweep: Sweep) -> Budget:
    """Compute the budget from a finished sweep over :func:`budget_axis`."""
    facts, values = facts_of(sweep.plan), sweep.values()
    everything, nothing = (
        summary(name, values[name], facts.measured.falls) for name in (EVERYTHING, NOTHING)
    )
    return Budget(facts, everything, nothing, shares_of(values, facts.measured))


def shares_of(values: Mapping[Any, Sequence[float]], metric: Metric) -> tuple[ErrorShare, ...]:
    """Compute the shares of things that can be present or not, the largest loss first.

    Args:
        values: metric of each chip with ``everything``, ``nothing``, and ``only X`` and
            ``without X`` of each X.
        metric: that metric.
    """
    base, ideal = values[EVERYTHING], values[NOTHING]

    def share(name: str) -> ErrorShare:
        alone, rest = values[ONLY + name], values[WITHOUT + name]
        return ErrorShare(
            name,
            summary(name, alone, metric.falls),
            summary(name, rest, metric.falls),
            summary(name, list(map(metric.lost, ideal, alone))),
            summary(name, list(map(metric.lost, rest, base))),
        )

    names = [str(level).removeprefix(ONLY) for level in values if str(level).startswith(ONLY)]
    return tuple(sorted(map(share, names), key=lambda share: -share.lost.mean))


def _run(
    subjects: Sequence[Subject], evaluation: Evaluation, options: BudgetOptions
) -> StudyResult:
    if options.waterfall and options.shapley:
        raise CimsimError(
            "--waterfall and --shapley cannot be combined; run the command once with each (they "
            "share their trials)"
        )
    if options.waterfall:
        return waterfall(subjects[0], evaluation)
    if options.shapley:
        return attribute(subjects[0], evaluation, options.orders)
    return budget(subjects[0], evaluation)


STUDY = Study(
    BUDGET,
    Budget,
    "Error budget",
    "Error budget",
    options=BudgetOptions,
    run=_run,
    defaults=DEFAULTS,
)
