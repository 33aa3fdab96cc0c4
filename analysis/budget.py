"""Error budget: what each non-ideality of a device costs one trained model.

A budget is a sweep whose levels are devices: the run's own, one without any non-ideality, and for
each non-ideality the device that has only this one and the device that has all but this one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from cimsim.analysis.levels import Axis, Level
from cimsim.analysis.plot import COLOURS
from cimsim.analysis.stats import Summary, summary
from cimsim.analysis.store import BUDGET, Sweep
from cimsim.errors import CimsimError
from cimsim.markup import table
from cimsim.profile import Profile, non_idealities, only, without
from cimsim.units import format_duration

EVERYTHING, NOTHING = "everything", "nothing"
ALONE, REST = "this one alone", "all but this one"
"""Titles of the two panels of a budget, and names (``gid``) of their points."""
_ONLY, _WITHOUT = "only ", "without "


@dataclass(frozen=True)
class EffectsAxis(Axis):
    """The devices of a budget, by name: ``everything``, ``nothing``, ``only X``, ``without X``."""

    def apply(self, profile: Profile, level: Level) -> Profile:
        """The device of that name.

        Raises:
            CimsimError: if ``profile`` has no such non-ideality.
        """
        name = str(level)
        if name == EVERYTHING:
            return profile
        if name == NOTHING:
            return only(profile, [])
        if name.startswith(_ONLY):
            return only(profile, [name.removeprefix(_ONLY)])
        return without(profile, [name.removeprefix(_WITHOUT)])


def budget_axis(profile: Profile) -> EffectsAxis:
    """Every device that the budget of ``profile`` needs.

    Raises:
        CimsimError: if nothing is wrong with the device.
    """
    names = non_idealities(profile)
    if not names:
        raise CimsimError(f"{profile.name} has no non-idealities, so there is nothing to budget")
    variants = [f"{kind}{name}" for name in names for kind in (_ONLY, _WITHOUT)]
    return EffectsAxis(BUDGET, (EVERYTHING, NOTHING, *variants))


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
class Budget:
    """The metric with everything and with nothing, and each non-ideality's share, the largest loss
    first."""

    everything: Summary
    nothing: Summary
    shares: tuple[Share, ...]

    def _repr_html_(self) -> str:
        """What a notebook shows: the shares, as the metric's own numbers."""
        rows = [("none", _shown(self.nothing), "", "", "")]
        for share in self.shares:
            parts = (share.alone, share.lost, share.rest, share.gained)
            alone, lost, rest, gained = map(_shown, parts)
            rows.append((share.name, alone, lost, rest, gained))
        rows.append(("all", _shown(self.everything), "", "", ""))
        return table(
            ("non-ideality", "alone", "lost", "all but it", "gained"), rows, right=range(1, 5)
        )


def _shown(level: Summary) -> str:
    interval = f" ± {level.half_width:.4f}" if level.chips > 1 else ""
    return f"{level.mean:.4f}{interval}"


def budget_of(sweep: Sweep) -> Budget:
    """What a finished sweep over :func:`budget_axis` says."""
    metric = sweep.plan.measured
    scores: dict[str, list[float]] = {}
    for cell in sweep.cells:
        scores.setdefault(str(cell.level), []).append(metric.of(cell.accuracy, cell.loss))
    base, ideal = np.array(scores[EVERYTHING]), np.array(scores[NOTHING])

    def share(name: str) -> Share:
        alone, rest = np.array(scores[_ONLY + name]), np.array(scores[_WITHOUT + name])
        return Share(
            name,
            summary(name, alone.tolist(), metric.falls),
            summary(name, rest.tolist(), metric.falls),
            summary(name, list(map(metric.lost, ideal, alone))),
            summary(name, list(map(metric.lost, rest, base))),
        )

    names = [level.removeprefix(_ONLY) for level in scores if level.startswith(_ONLY)]
    shares = sorted(map(share, names), key=lambda share: -share.lost.mean)
    return Budget(
        summary(EVERYTHING, base.tolist()), summary(NOTHING, ideal.tolist()), tuple(shares)
    )


def draw_budget(budget: Budget, sweep: Sweep) -> Figure:
    """Accuracy with each non-ideality alone, and with all but each, over the same chips."""
    rows, metric = len(budget.shares), sweep.plan.measured
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08)
    figure = Figure(figsize=(9.0, 1.9 + 0.42 * rows), layout=layout)
    FigureCanvasAgg(figure)
    alone, rest = figure.subplots(1, 2, sharey=True, sharex=True)
    places = np.arange(rows)[::-1]
    for axes, title, colour, part in (
        (alone, ALONE, COLOURS[0], [share.alone for share in budget.shares]),
        (rest, REST, COLOURS[1], [share.rest for share in budget.shares]),
    ):
        _points(axes, places, part, metric.factor, colour, title)
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
    plan = sweep.plan
    chips = f"{plan.chips} chips" if plan.chips > 1 else "1 chip"
    scaled = "" if plan.noise == 1 else f" at {plan.noise:g} times its noise"
    figure.suptitle(
        f"{plan.run} on {plan.profile}{scaled}, {format_duration(plan.age_s)} after programming: "
        f"mean of {chips} and its 95 % interval",
        fontsize=11,
    )
    return figure


def _points(
    axes: Axes, places: np.ndarray, part: Sequence[Summary], factor: float, colour: str, name: str
) -> None:
    errors = [0.0 if level.chips == 1 else factor * level.half_width for level in part]
    points, _, _ = axes.errorbar(
        [factor * level.mean for level in part],
        places,
        xerr=errors,
        fmt="o",
        color=colour,
        capsize=3,
        markersize=6,
    )
    points.set_gid(name)
