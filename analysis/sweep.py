"""Evaluate runs over an axis, chip by chip, so that it can stop and go on at any moment."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import torch

import cimsim
from cimsim.analysis.engine import Engine, Here, Task
from cimsim.analysis.levels import Axis, Level
from cimsim.analysis.metric import ACCURACY, metric_named
from cimsim.analysis.names import printable
from cimsim.analysis.store import WHOLE, Cell, Key, Plan, Shard, Store, Sweep, sweep_folder
from cimsim.errors import CimsimError
from cimsim.nn import set_profile
from cimsim.profile import Profile
from cimsim.training.data import DataSet, load_data
from cimsim.training.run import Run, new_model

Progress: TypeAlias = Callable[[int, int, str], None]
"""Told after every cell: cells finished, cells in all, what is being done."""


@dataclass(frozen=True)
class _Job:
    """One run with everything its cells need."""

    run: Run
    profiles: dict[Level, Profile]
    plan: Plan


def sweep(
    runs: Sequence[Run],
    axis: Axis,
    chips: int,
    *,
    age_s: float = 0.0,
    on: Profile | None = None,
    noise: float = 1.0,
    device: torch.device | str = "cpu",
    data_dir: Path | None = None,
    download: bool = False,
    metric: str | None = None,
    engine: Engine | None = None,
    shard: Shard = WHOLE,
    progress: Progress = lambda done, total, doing: None,
) -> list[Sweep]:
    """Evaluate each run at each level of ``axis`` on the same ``chips`` chips (seeds 0, 1, …).

    Cells that a run's folder already holds are not evaluated again; each new one is on disk before
    the next begins.

    Args:
        runs: finished runs; each is evaluated on its own test data.
        axis: what varies.
        chips: number of chips per level, at least 1.
        age_s: seconds since programming at which the chips are read; only where the axis is not
            time.
        on: the device to evaluate on; that of its training by default, for each run.
        noise: factor on every noise of that device, at all levels.
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
        CimsimError: if a profile refuses a level, data is missing, or a folder cannot be written
            or is being written by another process. Nothing has been evaluated then.
    """
    if chips < 1:
        raise CimsimError(f"a sweep needs at least 1 chip, not {chips}")
    if age_s and axis.key == "time":
        raise CimsimError("on the time axis the levels are the ages; leave the other age out")
    if metric is not None:
        metric_named(metric)
    if not 1 <= shard[0] <= shard[1]:
        raise CimsimError(f"there is no part {shard[0]} of {shard[1]}; the first is 1")
    device = torch.device(device)
    _share_data(runs, data_dir, download)
    jobs = [
        _job(run, (on or run.profile).scale_noise(noise), axis, chips, device, age_s, metric, noise)
        for run in runs
    ]
    with ExitStack() as stack:
        stores = [
            stack.enter_context(Store(sweep_folder(job.run.path, axis.key), job.plan, shard))
            for job in jobs
        ]
        for store in stores:
            store.start()
        part, parts = shard
        wanted = [pair for i, job in enumerate(jobs) for pair in _tasks(i, job, axis)]
        wanted = wanted[part - 1 :: parts]
        missing = [(key, task) for key, task in wanted if key not in stores[task.run]]
        done = len(wanted) - len(missing)
        progress(done, len(wanted), "found")
        found = (engine or Here()).scores(runs, [task for _, task in missing], device)
        for number, score in found:
            (basis, level, chip), task = missing[number]
            stores[task.run].append(Cell(basis, level, chip, score.accuracy, score.loss))
            done += 1
            doing = f"{jobs[task.run].plan.run}, {axis.key}={axis.format(level)}"
            progress(done, len(wanted), doing)
        return [store.finish() for store in stores]


def _share_data(runs: Sequence[Run], data_dir: Path | None, download: bool) -> None:
    """Load each data set once, whatever the number of runs; it can be larger than any model."""
    loaded: dict[tuple[str, Path | None], DataSet] = {}
    for run in runs:
        source = (run.config.data, data_dir or run.config.data_dir)
        if source not in loaded:
            loaded[source] = load_data(*source, download)
        run.data, run.data_dir = loaded[source], source[1]
        if run.data.fingerprint != run.result.get("data_fingerprint", run.data.fingerprint):
            raise CimsimError(
                f"{run.path}: was trained on other {run.data.name} data than those found now; "
                "give the folder of the right ones with --data-dir"
            )


def _job(
    run: Run,
    on: Profile,
    axis: Axis,
    chips: int,
    device: torch.device,
    age_s: float,
    metric: str | None,
    noise: float,
) -> _Job:
    model = new_model(run.config, run.profile, run.data)
    try:
        profiles = {level: axis.apply(on, level) for level in axis.values}
        for profile in profiles.values():
            set_profile(model, profile)  # refuses what does not fit, before anything is evaluated
    except CimsimError as error:
        raise CimsimError(f"{run.path}: {error}") from None
    plan = _plan(run, on, axis, chips, device, age_s)
    shown = metric or ("perplexity" if run.data.token else ACCURACY.name)
    return _Job(run, profiles, replace(plan, metric=shown, token=run.data.token, noise=noise))


def _plan(
    run: Run, on: Profile, axis: Axis, chips: int, device: torch.device, age_s: float
) -> Plan:
    facts = (
        run.checkpoint_sha256,
        on.model_dump_json(),
        axis.key,
        run.data.fingerprint,
        device.type,
        cimsim.__version__,
        age_s,
    )
    return Plan(
        run=printable(run.name),
        profile=on.name,
        axis=axis.key,
        levels=axis.values,
        chips=chips,
        digital_accuracy=run.digital_accuracy,
        basis=hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16],
        checkpoint_sha256=run.checkpoint_sha256,
        data=run.data.name,
        device=device.type,
        cimsim=cimsim.__version__,
        age_s=age_s,
        digital_loss=float(run.result["digital_loss"]),
    )


def _tasks(number: int, job: _Job, axis: Axis) -> list[tuple[Key, Task]]:
    """Every cell of a run's plan."""
    tasks = []
    for key in job.plan.keys():
        _, level, chip = key
        level_s = axis.age_s(level)
        age_s = job.plan.age_s if level_s is None else level_s
        tasks.append((key, Task(number, job.profiles[level], chip, age_s)))
    return tasks
