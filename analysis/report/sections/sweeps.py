"""How the runs do over noise, time, bits and whatever else they were swept over."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from cimsim.analysis.collect import Collection, collect
from cimsim.analysis.levels import Axis
from cimsim.analysis.plot import Curve, draw, part_of
from cimsim.analysis.report.blocks import (
    Block,
    Choice,
    Folded,
    Part,
    Picture,
    Section,
    Shown,
    Table,
    Words,
    file_name,
)
from cimsim.analysis.scale import scale_of
from cimsim.analysis.stats import Summary
from cimsim.analysis.store import cells_csv, read_sweep, sweep_folder, swept_axes
from cimsim.errors import CimsimError

_COMMAND = "cimsim sweep RUN --over noise=0:4:0.5"
_OF_CLASSES, _OF_TEXT = ("accuracy", "loss"), ("perplexity", "bits", "accuracy")


def section(runs: Sequence[Shown]) -> Section | None:
    """One figure for each axis and metric, with all runs that it was measured for."""
    axes = sorted({axis for shown in runs for axis in swept_axes(shown.run.path)})
    blocks: list[Block] = []
    for axis in axes:
        swept = [shown for shown in runs if axis in swept_axes(shown.run.path)]
        fit, remarks = _that_can_be_shown(swept, axis)
        blocks += [Words(remark, remark=True) for remark in remarks]
        for kind, of in _alike(fit, axis).items():
            blocks.append(_choice(of, axis, kind))
    if not blocks:
        return None
    return Section(tuple(blocks), tuple(r for r in runs if not swept_axes(r.run.path)))


def _that_can_be_shown(runs: Sequence[Shown], axis: str) -> tuple[list[Shown], list[str]]:
    fit, remarks = [], []
    for shown in runs:
        try:
            _collected([shown], axis, None)
        except CimsimError as error:
            remarks.append(str(error))
        else:
            fit.append(shown)
    return fit, remarks


def _alike(runs: Sequence[Shown], axis: str) -> dict[tuple[str, str], list[Shown]]:
    """The runs that belong into one figure, by what a text consists of and by their data."""
    groups: dict[tuple[str, str], list[Shown]] = {}
    for shown in runs:
        plan = read_sweep(sweep_folder(shown.run.path, axis)).plan
        groups.setdefault((plan.token, plan.data), []).append(shown)
    return groups


def _collected(runs: Sequence[Shown], axis: str, metric: str | None) -> Collection:
    paths = [shown.run.path for shown in runs]
    names = [shown.name for shown in runs]
    hashes = [shown.run.checkpoint_sha256 for shown in runs]
    found = collect(paths, hashes, axis, metric, names)
    curves = [
        replace(curve, number=shown.number) for curve, shown in zip(found.curves, runs, strict=True)
    ]
    return replace(found, curves=tuple(curves))


def _choice(runs: Sequence[Shown], axis: str, kind: tuple[str, str]) -> Choice:
    """A figure and its numbers for each metric."""
    token, data = kind
    sweeps = [read_sweep(sweep_folder(shown.run.path, axis)) for shown in runs]
    csv = cells_csv(sweeps, [shown.name for shown in runs])
    own = sweeps[0].plan.metric
    options: dict[str, tuple[Block, ...]] = {}
    for metric in dict.fromkeys([own, *(_OF_TEXT if token else _OF_CLASSES)]):
        found = _collected(runs, axis, metric)
        if any(math.isnan(curve.digital) for curve in found.curves):
            continue  # an old sweep did not keep the loss
        title = f"{found.metric.title} over {found.axis.label.lower()}, {data}"
        remarks = tuple(Words(text, remark=True) for text in found.remarks)
        picture = Picture(draw(found.curves, found.axis, found.metric), title, _texts(found))
        table = _table(found, title, file_name(f"{axis}-{data}.csv"), csv)
        options[found.metric.title] = (picture, *remarks, Folded("In numbers", (table,)))
    return Choice(f"{Axis(axis, ()).label}: {data}", Axis(axis, ()).label, options)


def _texts(found: Collection) -> dict[str, list[str]]:
    return {
        part_of(curve.number or 0, "mean"): [
            _told(curve, point, found) for point in _from_left(found.axis, curve)
        ]
        for curve in found.curves
    }


def _from_left(axis: Axis, curve: Curve) -> list[Summary]:
    places = scale_of(axis, [point.level for point in curve.points]).positions
    return sorted(curve.points, key=lambda point: places[point.level])


def _told(curve: Curve, point: Summary, found: Collection) -> str:
    axis, metric = found.axis, found.metric
    level = axis.format(point.level)
    lines = [curve.label, f"{axis.title}: {level}", f"{metric.label}: {point.shown(metric)}"]
    if point.chips > 1:
        lines.append(f"worst of {point.chips} chips: {metric.shown(point.worst)}")
    return "\n".join(lines)


def _table(found: Collection, title: str, file: str, csv: str) -> Table:
    axis, metric = found.axis, found.metric
    headings = ("run", axis.title, "mean ± 95 %", "95 % of the chips", "worst chip", "digital")
    rows = tuple(
        (
            curve.label,
            axis.format(point.level),
            point.shown(metric),
            f"{metric.shown(point.low)} to {metric.shown(point.high)}",
            metric.shown(point.worst),
            metric.shown(curve.digital),
        )
        for curve in found.curves
        for point in curve.points
    )
    return Table(f"{title}; {metric.heading}", headings, rows, range(1, 6), file, csv)


PART = Part(
    "sweeps",
    "Noise, time, resolution",
    section,
    _COMMAND,
    ("sweeps/*",),
)
