"""Align the sweeps of several runs: the same axis, levels and chips."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cimsim.analysis.figures.curves import Curve
from cimsim.analysis.labels import distinct_names
from cimsim.analysis.sweeps.axis import Axis
from cimsim.analysis.sweeps.metric import Metric, metric_named
from cimsim.analysis.sweeps.stats import summaries
from cimsim.analysis.sweeps.store import Sweep, read_sweep, sweep_folder, swept_axes
from cimsim.errors import CimsimError
from cimsim.units import format_duration


@dataclass(frozen=True)
class AlignedRuns:
    """The content of a figure: axis and metric, a curve per run, and remarks on what is left
    out."""

    axis: Axis
    metric: Metric
    curves: tuple[Curve, ...]
    remarks: tuple[str, ...]


def choose_axis(runs: Sequence[Path], requested: str | None) -> str:
    """Return the axis over which every run of the list was swept; ``requested`` if there are
    several.

    Raises:
        CimsimError: if there is none, or several and none is requested, or a run lacks it.
    """
    swept = {run: swept_axes(run) for run in runs}
    never = [str(run) for run, axes in swept.items() if not axes]
    if never:
        raise CimsimError(f"{never[0]}: was never swept; run `cimsim sweep {never[0]} --over …`")
    if requested is not None:
        for run, axes in swept.items():
            if requested not in axes:
                raise CimsimError(
                    f"{run}: was not swept over {requested}, but over {', '.join(axes)}; choose "
                    f"one of these or run `cimsim sweep {run} --over {requested}=…`"
                )
        return requested
    common = [axis for axis in swept[runs[0]] if all(axis in axes for axes in swept.values())]
    if not common:
        each = "; ".join(f"{run}: {', '.join(axes)}" for run, axes in swept.items())
        raise CimsimError(f"no axis over which every run was swept ({each})")
    if len(common) > 1:
        raise CimsimError(
            f"the runs were swept over {', '.join(common)}; choose one, such as --over {common[0]}"
        )
    return common[0]


def align_runs(
    runs: Sequence[Path],
    checkpoints: Sequence[str],
    axis: str,
    metric_name: str | None = None,
    names: Sequence[str] | None = None,
) -> AlignedRuns:
    """Align the last sweep of each run over ``axis``.

    Only the chips that every run was swept with are drawn, at levels that have all of them.

    Args:
        runs: folders of runs.
        checkpoints: SHA-256 of the checkpoint that each run holds now.
        axis: key of the axis.
        metric_name: name of the metric; the sweeps' own by default.
        names: names of the runs; by default as few parts of their paths as make them unique.

    Raises:
        CimsimError: if a run was trained again after its sweep, no level is finished, or the runs
            have no metric in common.
    """
    sweeps = [read_sweep(sweep_folder(run, axis)) for run in runs]
    for run, sweep, checkpoint in zip(runs, sweeps, checkpoints, strict=True):
        if sweep.plan.checkpoint_sha256 != checkpoint:
            raise CimsimError(
                f"{run}: its model is not the one that was swept over {axis}; "
                "run the same `cimsim sweep` again"
            )
    plans = [sweep.plan for sweep in sweeps]
    metrics = [metric_named(metric_name or p.metric, p.token, split=p.split) for p in plans]
    metric = metrics[0]
    for run, other in zip(runs, metrics, strict=True):
        if other.title != metric.title:
            raise CimsimError(
                f"{run}: the metric is '{other.title}', but '{metric.title}' for {runs[0]}; draw "
                "them in two figures, or choose one metric with --metric"
            )
    chips = min(sweep.plan.chips for sweep in sweeps)
    curves, remarks = [], list(_differences(sweeps))
    if any(sweep.plan.chips != chips for sweep in sweeps):
        remarks.append(f"only chips 0 to {chips - 1} are drawn, with which every run was swept")
    for run, name, sweep in zip(runs, names or distinct_names(runs), sweeps, strict=True):
        whole = _whole_levels(sweep, chips)
        if not whole.trials:
            raise CimsimError(
                f"{run}: no level of its sweep over {axis} is finished; "
                "run the same `cimsim sweep` again to finish it"
            )
        left_out = len(sweep.plan.levels) - len(whole.plan.levels)
        if left_out:
            remarks.append(
                f"{run}: {left_out} of {len(sweep.plan.levels)} levels are not finished and not "
                "drawn; run the same `cimsim sweep` again to finish it"
            )
        points = tuple(summaries(whole.trials, metric))
        digital = replace(sweep.plan, metric=metric.name).digital
        curves.append(Curve(_label(name, sweep, sweeps), digital, points))
    return AlignedRuns(Axis(axis, ()), metric, tuple(curves), tuple(remarks))


def _whole_levels(sweep: Sweep, chips: int) -> Sweep:
    """The sweep cut down to its first ``chips`` chips and the levels that have all of them."""
    trials = [trial for trial in sweep.trials if trial.chip < chips]
    counts = Counter(trial.level for trial in trials)
    levels = tuple(level for level in sweep.plan.levels if counts[level] == chips)
    return Sweep(
        replace(sweep.plan, levels=levels, chips=chips),
        tuple(trial for trial in trials if trial.level in levels),
    )


def _differences(sweeps: Sequence[Sweep]) -> list[str]:
    differences = []
    for field in ("data", "device", "cimsim"):
        values = sorted({str(getattr(sweep.plan, field)) for sweep in sweeps})
        if len(values) > 1:
            differences.append(f"the runs were swept with different {field}: {', '.join(values)}")
    return differences


def _label(name: str, sweep: Sweep, sweeps: Sequence[Sweep]) -> str:
    """The run's name with profile and data, where they differ, and its chips' age."""
    extra = [
        str(getattr(sweep.plan, field))
        for field in ("profile", "data")
        if len({getattr(other.plan, field) for other in sweeps}) > 1
    ]
    if sweep.plan.age_s:
        extra.append(f"at {format_duration(sweep.plan.age_s)}")
    return f"{name} ({', '.join(extra)})" if extra else name
