"""Sweeps of one or several subjects over the same axis, as a result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cimsim.analysis import figures
from cimsim.analysis.labels import require_names
from cimsim.analysis.sheet import Column, Sheet, columns_of
from cimsim.analysis.shown import Shown
from cimsim.analysis.study import facts_of
from cimsim.analysis.sweeps.axis import Axis
from cimsim.analysis.sweeps.metric import Metric
from cimsim.analysis.sweeps.stats import Summary, summaries
from cimsim.analysis.sweeps.store import Sweep, trial_rows
from cimsim.errors import CimsimError

if TYPE_CHECKING:
    from cimsim.analysis.figures.canvas import Layout, Panels
    from cimsim.analysis.figures.curves import Curve


@dataclass(frozen=True)
class SweepResult(Shown):
    """The scores of subjects over an axis, each level on the same chips.

    Attributes:
        names: a name for each subject.
        sweeps: the trials of each subject.
    """

    names: tuple[str, ...]
    sweeps: tuple[Sweep, ...]

    stem = "sweep"

    @property
    def axis(self) -> Axis:
        """The axis with its levels."""
        plan = self.sweeps[0].plan
        return Axis(plan.axis, plan.levels)

    @property
    def points(self) -> dict[str, tuple[Summary, ...]]:
        """A summary over the chips for each level of each subject: mean, 95 % interval, worst."""
        return {
            name: tuple(summaries(sweep.trials, sweep.plan.measured))
            for name, sweep in zip(self.names, self.sweeps, strict=True)
        }

    @property
    def about(self) -> str:
        """See :class:`Shown`."""
        profiles = ", ".join(dict.fromkeys(sweep.plan.profile for sweep in self.sweeps))
        names, levels = ", ".join(self.names), len(self.axis.values)
        return f"{names} on {profiles}, {levels} levels of {self.axis.key}, {self._caption}"

    @property
    def _caption(self) -> str:
        facts = facts_of(self.sweeps[0].plan)
        headings = " / ".join(dict.fromkeys(s.plan.measured.heading for s in self.sweeps))
        return f"{headings}, {facts.counted}{facts.aged}"

    def rows(self) -> Iterator[Sequence[object]]:
        """Yield one row for each trial, the heading first."""
        yield from trial_rows(self.sweeps, self.names)

    def sheet(self) -> Sheet:
        """One row for each level of each subject."""
        rows = []
        for (name, points), sweep in zip(self.points.items(), self.sweeps, strict=True):
            metric = sweep.plan.measured
            digital = metric.format(sweep.plan.digital)
            for i, point in enumerate(points):
                level, worst = self.axis.format(point.level), metric.format(point.worst)
                first = ("", "") if i else (name, digital)
                rows.append((first[0], level, point.format(metric), worst, first[1]))
        units = {sweep.plan.measured.unit for sweep in self.sweeps}
        unit = units.pop() if len(units) == 1 else ""
        columns = (
            Column("run", (), kind="name"),
            Column(self.axis.key, ()),
            Column("mean", (), unit),
            Column("worst chip", (), unit),
            Column("digital", (), unit, essential=False),
        )
        plus_minus = facts_of(self.sweeps[0].plan).plus_minus
        return Sheet(f"{self._caption}{plus_minus}", columns_of(columns, rows), keys=2)

    def renamed(self, names: Sequence[str]) -> SweepResult:
        """See :class:`Shown`."""
        require_names(names, self.names)
        return replace(self, names=tuple(names))

    @property
    def layout(self) -> Layout:
        """See :class:`Shown`."""
        return figures.curves.layout_of(self._curves)

    def draw(self, panels: Panels) -> None:
        """Draw a curve for each subject, see :func:`cimsim.analysis.figures.curves.draw`."""
        figures.curves.draw_on(panels, self._curves, self.axis, self._metric)

    def hover(self) -> dict[str, list[str]]:
        """See :class:`Shown`."""
        return {
            figures.canvas.part_of(number, "mean"): [
                f"{name}\n{self.axis.named(point.level)}: {point.with_unit(self._metric)}"
                for point in points
            ]
            for number, (name, points) in enumerate(self.points.items())
        }

    @property
    def _metric(self) -> Metric:
        """
        Raises:
            CimsimError: if the subjects have different ones.
        """
        metrics = {s.plan.measured.title: s.plan.measured for s in self.sweeps}
        if len(metrics) > 1:
            raise CimsimError(
                f"{' and '.join(metrics)} cannot be drawn in one figure; choose one with metric=…, "
                "or sweep the models one by one"
            )
        return next(iter(metrics.values()))

    @property
    def _curves(self) -> list[Curve]:
        digital = [sweep.plan.digital for sweep in self.sweeps]
        pairs = zip(self.points.items(), digital, strict=True)
        return [figures.curves.Curve(name, value, points) for (name, points), value in pairs]
