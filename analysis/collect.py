"""Several runs side by side: only results that belong together, and what was left out said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cimsim.analysis.levels import Axis
from cimsim.analysis.metric import Metric, metric_named
from cimsim.analysis.names import distinct_names
from cimsim.analysis.plot import Curve
from cimsim.analysis.stats import summaries
from cimsim.analysis.store import Sweep, read_sweep, sweep_folder, swept_axes
from cimsim.errors import CimsimError
from cimsim.units import format_duration


@dataclass(frozen=True)
class Collection:
    """What a figure shows: axis and metric, a curve per run, and remarks on what is not shown."""

    axis: Axis
    metric: Metric
    curves: tuple[Curve, ...]
    remarks: tuple[str, ...]


def choose_axis(runs: Sequence[Path], wanted: str | None) -> str:
    """The axis over which every run of the list was swept; ``wanted`` where there are several.

    Raises:
        CimsimError: if there is none, several and no wish, or a run lacks the wanted one.
    """
    swept = {run: swept_axes(run) for run in runs}
    never = [str(run) for run, axes in swept.items() if not axes]
    if never:
        raise CimsimError(f"{never[0]}: was never swept; run `cimsim sweep {never[0]} --over …`")
    if wanted is not None:
        for run, axes in swept.items():
            if wanted not in axes:
                raise CimsimError(
                    f"{run}: was not swept over {wanted}, but over {', '.join(axes)}; choose one "
                    f"of these or run `cimsim sweep {run} --over {wanted}=…`"
                )
        return wanted
    common = [axis for axis in swept[runs[0]] if all(axis in axes for axes in swept.values())]
    if not common:
        each = "; ".join(f"{run}: {', '.join(axes)}" for run, axes in swept.items())
        raise CimsimError(f"no axis over which every run was swept ({each})")
    if len(common) > 1:
        raise CimsimError(
            f"the runs were swept over {', '.join(common)}; choose one, such as --over {common[0]}"
        )
    return common[0]


def collect(
    runs: Sequence[Path],
    checkpoints: Sequence[str],
    axis: str,
    wanted: str | None = None,
    names: Sequence[str] | None = None,
) -> Collection:
    """The last sweep of each run over ``axis``, made comparable.

    Drawn are the chips that every run was swept with, at levels that have all of them.

    Args:
        runs: folders of runs.
        checkpoints: SHA-256 of the checkpoint that each run holds now.
        axis: key of the axis.
        wanted: name of the metric; that of the sweeps by default.
        names: what the runs are called; by default as few parts of their paths as tell them apart.

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
    metrics = [metric_named(wanted or sweep.plan.metric, sweep.plan.token) for sweep in sweeps]
    metric = metrics[0]
    for run, other in zip(runs, metrics, strict=True):
        if other.title != metric.title:
            raise CimsimError(
                f"{run}: was measured by '{other.title}', {runs[0]} by '{metric.title}'; draw them "
                "in two figures, or name one metric with --metric"
            )
    chips = min(sweep.plan.chips for sweep in sweeps)
    curves, remarks = [], list(_differences(sweeps))
    if any(sweep.plan.chips != chips for sweep in sweeps):
        remarks.append(f"drawn are chips 0 to {chips - 1}, with which every run was swept")
    for run, name, sweep in zip(runs, names or distinct_names(runs), sweeps, strict=True):
        whole = _whole_levels(sweep, chips)
        if not whole.cells:
            raise CimsimError(
                f"{run}: no level of its sweep over {axis} is finished; "
                "run the same `cimsim sweep` again, it goes on where it stopped"
            )
        left_out = len(sweep.plan.levels) - len(whole.plan.levels)
        if left_out:
            remarks.append(
                f"{run}: {left_out} of {len(sweep.plan.levels)} levels are not finished and not "
                "drawn; run the same `cimsim sweep` again, it goes on where it stopped"
            )
        points = tuple(summaries(whole.cells, metric))
        digital = replace(sweep.plan, metric=metric.name).digital
        curves.append(Curve(_label(name, sweep, sweeps), digital, points))
    return Collection(Axis(axis, ()), metric, tuple(curves), tuple(remarks))


def _whole_levels(sweep: Sweep, chips: int) -> Sweep:
    """The sweep cut down to its first ``chips`` chips and the levels that have all of them."""
    cells = [cell for cell in sweep.cells if cell.chip < chips]
    counts = Counter(cell.level for cell in cells)
    levels = tuple(level for level in sweep.plan.levels if counts[level] == chips)
    return Sweep(
        replace(sweep.plan, levels=levels, chips=chips),
        tuple(cell for cell in cells if cell.level in levels),
    )


def _differences(sweeps: Sequence[Sweep]) -> list[str]:
    found = []
    for field in ("data", "device", "cimsim"):
        values = sorted({str(getattr(sweep.plan, field)) for sweep in sweeps})
        if len(values) > 1:
            found.append(f"the runs were swept with different {field}: {', '.join(values)}")
    return found


def _label(name: str, sweep: Sweep, sweeps: Sequence[Sweep]) -> str:
    """The run's name, what else tells it from the others (profile, data), and its chips' age."""
    extra = [
        str(getattr(sweep.plan, field))
        for field in ("profile", "data")
        if len({getattr(other.plan, field) for other in sweeps}) > 1
    ]
    if sweep.plan.age_s:
        extra.append(f"at {format_duration(sweep.plan.age_s)}")
    return f"{name} ({', '.join(extra)})" if extra else name
