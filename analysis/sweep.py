"""Evaluate runs over an axis, chip by chip, so that it can stop and go on at any moment."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias, TypedDict

import torch

import cimsim
from cimsim.analysis.engine import Engine, Here, Task
from cimsim.analysis.levels import Axis, Level
from cimsim.analysis.metric import ACCURACY, metric_named
from cimsim.analysis.store import WHOLE, Key, Plan, Shard, Store, Sweep, Trial, sweep_folder
from cimsim.errors import CimsimError
from cimsim.nn import Assignment, analog_layers, devices, set_profile
from cimsim.profile import Profile, typed_profile
from cimsim.terminal import one_line
from cimsim.training.data import DataSet, load_data
from cimsim.training.layer_options import Layers, format_layer
from cimsim.training.run import Run

Progress: TypeAlias = Callable[[int, int, str], None]
"""Told after every cell: cells finished, cells in all, what is being done."""


class _Circumstances(TypedDict):
    """Under what circumstances cells are evaluated: where, at which age, on how many samples."""

    device: torch.device
    age_s: float
    samples: int | None


@dataclass(frozen=True)
class _Job:
    """One run with everything its cells need."""

    run: Run
    devices: dict[Level, Assignment]
    plan: Plan
    samples: int | None


def sweep(
    runs: Sequence[Run],
    axis: Axis,
    chips: int,
    *,
    age_s: float = 0.0,
    on: Profile | Assignment | None = None,
    layers: Layers | None = None,
    first_chip: int = 0,
    samples: int | None = None,
    device: torch.device | str = "cpu",
    data_dir: Path | None = None,
    download: bool = False,
    metric: str | None = None,
    engine: Engine | None = None,
    shard: Shard = WHOLE,
    progress: Progress = lambda done, total, doing: None,
) -> list[Sweep]:
    """Evaluate each run at each level of ``axis`` on the same ``chips`` chips (seeds 0, 1, …, or
    from ``first_chip``).

    Cells that a run's folder already holds are not evaluated again; each new one is on disk before
    the next begins.

    Args:
        runs: finished runs; each is evaluated on its own test data.
        axis: what varies.
        chips: number of chips per level, at least 1.
        age_s: seconds since programming at which the chips are read; only where the axis is not
            time.
        on: the device to evaluate on, or those of all layers; by default those of its training,
            for each run.
        layers: other devices for some layers, by patterns as in :func:`cimsim.convert`, on top of
            ``on``. The axis changes every layer's own device.
        first_chip: seed of the first chip.
        samples: evaluate on the first so many test samples; all by default.
        device: where to compute.
        data_dir: where the data lies; default: where it lay in training.
        download: fetch data that is missing.
        metric: what is shown of the results, see :mod:`cimsim.analysis.metric`; by default
            accuracy, and for text perplexity.
        engine: where to evaluate the cells, :class:`cimsim.analysis.engine.Here` by default; the
            numbers are the same with any.
        shard: ``(i, n)`` evaluates only the i-th of n parts, with which other processes or machines
            do the others; results of all parts in the runs' folders belong together.
        progress: called after every cell.

    Returns:
        One sweep per run, in their order; no cell is missing, or with ``shard`` those of the other
        parts that are not finished.

    Raises:
        CimsimError: if a profile refuses a level, ``layers`` sets what the axis varies, data is
            missing, or a folder cannot be written or is being written by another process. Nothing
            has been evaluated then.
    """
    if chips < 1:
        raise CimsimError(f"a sweep needs at least 1 chip, not {chips}")
    if age_s and any(axis.age_s(level) is not None for level in axis.values):
        raise CimsimError("on the time axis the levels are the ages; leave the other age out")
    if metric is not None:
        metric_named(metric)
    if not 1 <= shard[0] <= shard[1]:
        raise CimsimError(f"there is no part {shard[0]} of {shard[1]}; the first is 1")
    _refuse_clash(axis, layers or {})
    device = torch.device(device)
    load_shared(runs, data_dir, download)
    circumstances = _Circumstances(device=device, age_s=age_s, samples=samples)
    seeds = range(first_chip, first_chip + chips)
    jobs = [_job(run, on, layers or {}, axis, seeds, metric, circumstances) for run in runs]
    with ExitStack() as stack:
        stores = [
            stack.enter_context(Store(sweep_folder(job.run.path, axis.key), job.plan, shard))
            for job in jobs
        ]
        part, parts = shard
        wanted = [pair for i, job in enumerate(jobs) for pair in _tasks(i, job, axis)]
        wanted = wanted[part - 1 :: parts]
        missing = [(key, task) for key, task in wanted if key not in stores[task.run]]
        done = found_before = len(wanted) - len(missing)
        progress(done, len(wanted), "found")
        found = (engine or Here()).scores(runs, [task for _, task in missing], device)
        for number, score in found:
            if done == found_before:  # whatever could refuse the sweep has not
                for store in stores:
                    store.start()
            (basis, level, chip), task = missing[number]
            stores[task.run].append(Trial(basis, level, chip, score.accuracy, score.loss))
            done += 1
            progress(done, len(wanted), f"{jobs[task.run].plan.run}, {axis.named(level)}")
        if not missing:
            for store in stores:
                store.start()
        return [store.finish() for store in stores]


def load_shared(runs: Sequence[Run], data_dir: Path | None, download: bool) -> None:
    """Load each data set once, whatever the number of runs and however often one is evaluated; it
    can be larger than any model.

    Raises:
        CimsimError: if data are missing, or others than the run was trained on.
    """
    loaded: dict[tuple[str, Path | None], DataSet] = {}
    for run in runs:
        source = (run.config.data, data_dir or run.config.data_dir)
        if source not in loaded:
            known = "data" in vars(run) and run.data_dir == source[1]
            loaded[source] = run.data if known else load_data(*source, download)
        run.data, run.data_dir = loaded[source], source[1]
        if run.data.fingerprint != run.result.get("data_fingerprint", run.data.fingerprint):
            raise CimsimError(
                f"{run.path}: was trained on other {run.data.name} data than those found now; "
                "give the folder of the right ones with --data-dir"
            )


def _refuse_clash(axis: Axis, layers: Layers) -> None:
    """What the axis sets for every layer, no layer can have otherwise."""
    for pattern, settings in layers.items():
        for key in settings:
            if axis.key == key or axis.key.startswith(f"{key}.") or key.startswith(f"{axis.key}."):
                raise CimsimError(
                    f"layers '{pattern}': {key} is set, and {axis.key} is swept for all layers; "
                    "leave one of them out"
                )


def _job(
    run: Run,
    on: Profile | Assignment | None,
    layers: Layers,
    axis: Axis,
    chips: range,
    metric: str | None,
    circumstances: _Circumstances,
) -> _Job:
    model = run.new_model()
    try:
        own = devices(model)
        if isinstance(on, Profile):
            on = Assignment(on)
        base = on or own
        other = None if base.facts() == own.facts() else base.name
        if layers:
            base = base.changed(list(analog_layers(model)), layers)
        at_levels = {level: axis.assign(base, level) for level in axis.values}
        for assignment in at_levels.values():
            set_profile(model, assignment)  # refuses what does not fit, before any is evaluated
    except CimsimError as error:
        raise CimsimError(f"{run.path}: {error}") from None
    plan = _plan(run, base, axis, chips, circumstances)
    plan = replace(plan, metric=metric or usual_metric(run), token=run.data.token)
    plan = replace(plan, on=other, layers=tuple(_typed(*item) for item in layers.items()))
    return _Job(run, at_levels, plan, circumstances["samples"])


def _typed(pattern: str, settings: Mapping[str, Any]) -> str:
    """Format for :func:`cimsim.training.layer_options.parse_layers`, profiles by name."""
    named = {k: typed_profile(v.name) if k == "profile" else v for k, v in settings.items()}
    return format_layer(pattern, named)


def usual_metric(run: Run) -> str:
    """Accuracy, and for text perplexity."""
    return "perplexity" if run.data.token else ACCURACY.name


def _plan(
    run: Run, on: Assignment, axis: Axis, chips: range, circumstances: _Circumstances
) -> Plan:
    profile, layers = on.facts()
    device, age_s = circumstances["device"], circumstances["age_s"]
    digital = run.digital_score(circumstances["samples"], device)
    facts: list[object] = [
        run.checkpoint_sha256,
        profile,
        axis.key,
        run.data.fingerprint,
        device.type,
        cimsim.__version__,
        age_s,
    ]
    # Only where they are given, so that results without them keep their basis.
    if layers:
        facts.append(layers)
    if circumstances["samples"] is not None:
        facts.append({"samples": circumstances["samples"]})
    return Plan(
        run=one_line(run.name),
        profile=on.name,
        axis=axis.key,
        levels=axis.values,
        chips=len(chips),
        first_chip=chips.start,
        digital_accuracy=digital.accuracy,
        basis=hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16],
        checkpoint_sha256=run.checkpoint_sha256,
        data=run.data.name,
        device=device.type,
        cimsim=cimsim.__version__,
        age_s=age_s,
        digital_loss=digital.loss,
    )


def _tasks(number: int, job: _Job, axis: Axis) -> list[tuple[Key, Task]]:
    """Every cell of a run's plan."""
    tasks = []
    for key in job.plan.keys():
        _, level, chip = key
        level_s = axis.age_s(level)
        age_s = job.plan.age_s if level_s is None else level_s
        how = (axis.upkeep(level), axis.cycle(level))
        task = Task(number, job.devices[level], chip, age_s, job.samples, *how)
        tasks.append((key, task))
    return tasks
