"""Error budget: what each non-ideality of a device costs one trained model.

A budget is a sweep whose levels are devices: the run's own, one without any non-ideality, and for
each non-ideality the device that has only this one and the device that has all but this one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from cimsim.analysis.levels import Axis, Level
from cimsim.analysis.metric import Metric
from cimsim.analysis.plot import COLORS
from cimsim.analysis.stats import Summary, summary
from cimsim.analysis.store import BUDGET, Sweep
from cimsim.analysis.study import (
    Evaluation,
    Facts,
    Result,
    Sheet,
    facts_of,
    read_result,
    scores,
)
from cimsim.errors import CimsimError
from cimsim.nn import Assignment
from cimsim.profile import Profile, non_idealities, only, without
from cimsim.training.run import Run
from cimsim.units import format_duration

EVERYTHING, NOTHING = "everything", "nothing"
ONLY, WITHOUT, _AND = "only ", "without ", " + "
ALONE, REST = "this one alone", "all but this one"
"""Titles of the two panels of a budget, and names (``gid``) of their points."""


@dataclass(frozen=True)
class EffectsAxis(Axis):
    """The devices of a budget, by name: ``everything``, ``nothing``, ``only X``, ``only X + Y``,
    ``without X``."""

    def apply(self, profile: Profile, level: Level) -> Profile:
        """The device of that name.

        Of several devices that the layers of a model are on, one may lack the non-ideality of
        another: it has nothing left with that one only, and loses nothing without it.
        """
        name = str(level)
        if name == EVERYTHING:
            return profile
        if name == NOTHING:
            return only(profile, [])
        named = name.removeprefix(ONLY).removeprefix(WITHOUT).split(_AND)
        known = [effect for effect in non_idealities(profile) if effect in named]
        return only(profile, known) if name.startswith(ONLY) else without(profile, known)


def effects_of(devices: Assignment) -> list[str]:
    """Everything that is not ideal in the device of any layer.

    Raises:
        CimsimError: if nothing is wrong with any of them.
    """
    names = dict.fromkeys(name for profile in devices.profiles for name in non_idealities(profile))
    if not names:
        raise CimsimError(f"{devices.name} has no non-idealities, so there is nothing to budget")
    return list(names)


def budget_axis(devices: Assignment) -> EffectsAxis:
    """Every device that the budget of a model's ``devices`` needs.

    Raises:
        CimsimError: if nothing is wrong with any of them.
    """
    variants = [f"{kind}{name}" for name in effects_of(devices) for kind in (ONLY, WITHOUT)]
    return EffectsAxis(BUDGET, (EVERYTHING, NOTHING, *variants))


def device_with(names: Sequence[str], chosen: Iterable[str]) -> str:
    """What an :class:`EffectsAxis` calls the device of which only ``chosen`` are left of all
    non-idealities ``names``; a device has one name, so that it is evaluated once.

    >>> device_with(["a", "b", "c"], ["c", "a"]), device_with(["a", "b", "c", "d"], ["b", "a"])
    ('without b', 'only a + b')
    """
    chosen = set(chosen)
    kept = [name for name in names if name in chosen]
    if len(kept) == len(names):
        return EVERYTHING
    if not kept:
        return NOTHING
    if len(kept) == len(names) - 1 and len(kept) > 1:
        return WITHOUT + next(name for name in names if name not in chosen)
    return ONLY + _AND.join(kept)


@dataclass(frozen=True)
class Share:
    """What one non-ideality costs, in the sweep's metric, over the same chips.

    Attributes:
        name: as in :func:`cimsim.profile.non_idealities`.
        alone: with this non-ideality only.
        rest: with all but this one.
        lost: how much worse it is alone than a device without any.
        gained: how much better it is without it, chip by chip.
    """

    name: str
    alone: Summary
    rest: Summary
    lost: Summary
    gained: Summary


@dataclass(frozen=True)
class Budget(Result):
    """The metric with everything and with nothing, and each non-ideality's share, the largest loss
    first."""

    facts: Facts
    everything: Summary
    nothing: Summary
    shares: tuple[Share, ...]

    def table(self) -> Iterator[Sequence[object]]:
        """One row for each non-ideality, the heading first."""
        yield ["non-ideality", "chips", "alone", "lost", "rest", "gained"]
        for share in self.shares:
            means = (part.mean for part in (share.alone, share.lost, share.rest, share.gained))
            yield [share.name, self.facts.chips, *means]

    def sheet(self) -> Sheet:
        """One row for each non-ideality, between those of none and of all."""
        metric = self.facts.measured
        rows = [("none", self.nothing.shown(metric), "", "", "")]
        for share in self.shares:
            parts = (share.alone, share.lost, share.rest, share.gained)
            alone, lost, rest, gained = (part.shown(metric) for part in parts)
            rows.append((share.name, alone, lost, rest, gained))
        rows.append(("all", self.everything.shown(metric), "", "", ""))
        headings = ("non-ideality", "alone", "lost", "all but it", "gained")
        return Sheet(self.facts.caption, headings, tuple(rows), range(1, 5))


def budget(run: Run, evaluation: Evaluation = Evaluation()) -> Budget:  # noqa: B008
    """Evaluate ``run`` on every device of :func:`budget_axis`, the chips always the same.

    Raises:
        CimsimError: if nothing is wrong with the device, or as
            :func:`cimsim.analysis.sweep.sweep`.
    """
    return budget_of(evaluation.sweep(run, budget_axis(evaluation.devices(run))), evaluation)


def budget_of(sweep: Sweep, evaluation: Evaluation) -> Budget:
    """What a finished sweep over :func:`budget_axis` says."""
    facts, found = facts_of(sweep.plan, evaluation), scores(sweep)
    everything, nothing = (
        summary(name, found[name], facts.measured.falls) for name in (EVERYTHING, NOTHING)
    )
    return Budget(facts, everything, nothing, shares_of(found, facts.measured))


def shares_of(found: Mapping[Any, Sequence[float]], metric: Metric) -> tuple[Share, ...]:
    """The shares of whatever can be there or not, the largest loss first; from the metric of each
    chip with ``everything``, ``nothing``, and ``only X`` and ``without X`` of each X."""
    base, ideal = np.array(found[EVERYTHING]), np.array(found[NOTHING])

    def share(name: str) -> Share:
        alone, rest = np.array(found[ONLY + name]), np.array(found[WITHOUT + name])
        return Share(
            name,
            summary(name, alone.tolist(), metric.falls),
            summary(name, rest.tolist(), metric.falls),
            summary(name, list(map(metric.lost, ideal, alone))),
            summary(name, list(map(metric.lost, rest, base))),
        )

    names = [str(level).removeprefix(ONLY) for level in found if str(level).startswith(ONLY)]
    return tuple(sorted(map(share, names), key=lambda share: -share.lost.mean))


def read_budget(run: Path) -> Budget:
    """The budget of the run in the folder ``run``.

    Raises:
        CimsimError: if there is none, or it is damaged.
    """
    return read_result(run / BUDGET / f"{BUDGET}.json", Budget, f"cimsim budget {run}")


def draw_budget(budget: Budget) -> Figure:
    """The metric with each non-ideality alone, and with all but each, over the same chips."""
    facts, rows = budget.facts, len(budget.shares)
    metric = facts.measured
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08)
    figure = Figure(figsize=(9.0, 1.9 + 0.42 * rows), layout=layout)
    FigureCanvasAgg(figure)
    alone, rest = figure.subplots(1, 2, sharey=True, sharex=True)
    places = np.arange(rows)[::-1]
    for axes, title, color, part in (
        (alone, ALONE, COLORS[0], [share.alone for share in budget.shares]),
        (rest, REST, COLORS[1], [share.rest for share in budget.shares]),
    ):
        _points(axes, places, part, metric.factor, color, title)
        for level, style, label in (
            (budget.nothing, "--", "none of them"),
            (budget.everything, "-", "all of them"),
        ):
            axes.axvline(
                metric.factor * level.mean, color="#555555", linewidth=1.2, linestyle=style
            )
            axes.plot([], [], color="#555555", linewidth=1.2, linestyle=style, label=label)
        axes.set_title(title, fontsize=12)
        axes.set_xlabel(metric.label)
        axes.grid(axis="x", alpha=0.25, linewidth=0.7)
        axes.spines[["top", "right"]].set_visible(False)
    alone.set_yticks(places, [share.name for share in budget.shares])
    alone.set_ylim(-0.6, rows - 0.4)
    figure.legend(
        *rest.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False
    )
    interval = " and its 95 % interval" if facts.chips > 1 else ""
    figure.suptitle(
        f"{facts.where}, {format_duration(facts.age_s)} after programming: "
        f"mean of {facts.counted}{interval}",
        fontsize=11,
    )
    return figure


def _points(
    axes: Axes, places: np.ndarray, part: Sequence[Summary], factor: float, color: str, name: str
) -> None:
    errors = [0.0 if level.chips == 1 else factor * level.half_width for level in part]
    points, _, _ = axes.errorbar(
        [factor * level.mean for level in part],
        places,
        xerr=errors,
        fmt="o",
        color=color,
        capsize=3,
        markersize=6,
    )
    points.set_gid(name)
