"""Sweeps over noise, time, bits and any other axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from cimsim.analysis.figures.canvas import part_of
from cimsim.analysis.figures.curves import Curve
from cimsim.analysis.report.blocks import (
    Block,
    Choice,
    Folded,
    Paragraph,
    Part,
    Picture,
    ReportRun,
    Section,
    Table,
    file_name,
)
from cimsim.analysis.report.drawing import curves_of
from cimsim.analysis.report.sweep_headlines import headlines
from cimsim.analysis.sweeps.align_runs import AlignedRuns, align_runs
from cimsim.analysis.sweeps.axis import Axis
from cimsim.analysis.sweeps.axis_scale import scale_of
from cimsim.analysis.sweeps.metric import METRICS
from cimsim.analysis.sweeps.stats import Summary
from cimsim.analysis.sweeps.store import Plan, read_sweep, sweep_folder, swept_axes, trials_csv
from cimsim.errors import CimsimError

_FIRST = ("noise", "time")
_COMMAND = "cimsim sweep RUN --over noise=0:4:0.5"
_CLASSIFIER, _TEXT = ("accuracy", "loss"), ("perplexity", "bits", "accuracy")


def section(runs: Sequence[ReportRun]) -> Section | None:
    """Make one figure for each axis and metric, with all runs that were swept."""
    every = {axis for run in runs for axis in swept_axes(run.folder)}
    axes = sorted(every, key=lambda axis: (axis not in _FIRST, axis))
    blocks: list[Block] = []
    for axis in axes:
        swept = [run for run in runs if axis in swept_axes(run.folder)]
        usable, remarks = _usable(swept, axis)
        blocks += [Paragraph(remark, remark=True) for remark in remarks]
        for kind, of in _alike(usable, axis).items():
            blocks.append(_choice(of, axis, kind))
    if not blocks:
        return None
    return Section(tuple(blocks), tuple(run for run in runs if not swept_axes(run.folder)))


def _usable(runs: Sequence[ReportRun], axis: str) -> tuple[list[ReportRun], list[str]]:
    usable, remarks = [], []
    for run in runs:
        try:
            _aligned([run], axis, None)
        except CimsimError as error:
            remarks.append(str(error))
        else:
            usable.append(run)
    return usable, remarks


def _alike(runs: Sequence[ReportRun], axis: str) -> dict[tuple[str, str], list[ReportRun]]:
    """The runs that belong in one figure, by unit of text and data."""
    groups: dict[tuple[str, str], list[ReportRun]] = {}
    for run in runs:
        plan = read_sweep(sweep_folder(run.folder, axis)).plan
        groups.setdefault((plan.token, plan.data), []).append(run)
    return groups


def _aligned(runs: Sequence[ReportRun], axis: str, metric: str | None) -> AlignedRuns:
    folders, names = [run.folder for run in runs], [run.name for run in runs]
    hashes = [run.subject.fingerprint for run in runs]
    aligned = align_runs(folders, hashes, axis, metric, names)
    pairs = zip(aligned.curves, runs, strict=True)
    return replace(aligned, curves=tuple(replace(c, number=run.number) for c, run in pairs))


def _choice(runs: Sequence[ReportRun], axis: str, kind: tuple[str, str]) -> Choice:
    """A figure and its numbers for each metric."""
    token, data = kind
    sweeps = [read_sweep(sweep_folder(run.folder, axis)) for run in runs]
    csv = trials_csv(sweeps, [run.name for run in runs])
    plan = sweeps[0].plan
    others = [name for name in (_TEXT if token else _CLASSIFIER) if _has(plan, name)]
    options: dict[str, tuple[Block, ...]] = {}
    for metric in dict.fromkeys([plan.metric, *others]):
        aligned = _aligned(runs, axis, metric)
        if any(math.isnan(curve.digital) for curve in aligned.curves):
            continue  # an old sweep did not keep the loss
        title = f"{aligned.metric.title} over {aligned.axis.label.lower()}, {data}"
        remarks = tuple(Paragraph(text, remark=True) for text in aligned.remarks)
        picture = Picture(
            curves_of(aligned.curves, aligned.axis, aligned.metric), title, _texts(aligned)
        )
        table = _table(aligned, title, file_name(f"{axis}-{data}.csv"), csv)
        options[aligned.metric.title] = (picture, *remarks, Folded("In numbers", (table,)))
    return Choice(f"{Axis(axis, ()).label}: {data}", Axis(axis, ()).label, options)


def _has(plan: Plan, metric: str) -> bool:
    """Whether a metric can be computed from the scores of a sweep."""
    return METRICS[metric].source in plan.digital_scores


def _texts(aligned: AlignedRuns) -> dict[str, list[str]]:
    return {
        part_of(curve.number or 0, "mean"): [
            _point_text(curve, point, aligned) for point in _from_left(aligned.axis, curve)
        ]
        for curve in aligned.curves
    }


def _from_left(axis: Axis, curve: Curve) -> list[Summary]:
    places = scale_of(axis, [point.level for point in curve.points]).positions
    return sorted(curve.points, key=lambda point: places[point.level])


def _point_text(curve: Curve, point: Summary, aligned: AlignedRuns) -> str:
    axis, metric = aligned.axis, aligned.metric
    level = axis.format(point.level)
    lines = [curve.label, f"{axis.title}: {level}", f"{metric.label}: {point.format(metric)}"]
    if point.chips > 1:
        lines.append(f"worst of {point.chips} chips: {metric.format(point.worst)}")
    return "\n".join(lines)


def _table(aligned: AlignedRuns, title: str, file: str, csv: str) -> Table:
    axis, metric = aligned.axis, aligned.metric
    headings = ("run", axis.title, "mean ± 95 %", "95 % of the chips", "worst chip", "digital")
    rows = tuple(
        (
            curve.label,
            axis.format(point.level),
            point.format(metric),
            f"{metric.format(point.low)} to {metric.format(point.high)}",
            metric.format(point.worst),
            metric.format(curve.digital),
        )
        for curve in aligned.curves
        for point in curve.points
    )
    return Table(f"{title}; {metric.heading}", headings, rows, range(1, 6), file, csv)


PART = Part("sweeps", "Noise, time, resolution", section, _COMMAND, ("sweeps/*",), headlines)
