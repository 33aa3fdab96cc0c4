"""Evaluate runs over an axis, chip by chip, so that it can stop and go on at any moment."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import torch
from torch import nn

import cimsim
from cimsim.analysis.levels import Axis, Level
from cimsim.analysis.metric import ACCURACY, metric_named
from cimsim.analysis.names import printable
from cimsim.analysis.store import Cell, Plan, Store, Sweep, sweep_folder
from cimsim.errors import CimsimError
from cimsim.nn import set_profile
from cimsim.profile import Profile
from cimsim.training.data import DataSet, load_data
from cimsim.training.evaluate import evaluate
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
    device: torch.device | str = "cpu",
    data_dir: Path | None = None,
    download: bool = False,
    metric: str | None = None,
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
        on: the device to evaluate on; that of its training by default, for each run. device: where
        to compute. data_dir: where the data lies; default: where it lay in training. download:
        fetch data that is missing. metric: what is shown of the results, see
        :mod:`cimsim.analysis.metric`; by default accuracy,
            and for text perplexity.
        progress: called after every cell.

    Returns:
        One sweep per run, in their order, none of whose cells is missing.

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
    device = torch.device(device)
    _share_data(runs, data_dir, download)
    jobs = [_job(run, on or run.profile, axis, chips, device, age_s, metric) for run in runs]
    with ExitStack() as stack:
        stores = [
            stack.enter_context(Store(sweep_folder(job.run.path, axis.key), job.plan))
            for job in jobs
        ]
        work = list(zip(jobs, stores, strict=True))
        for store in stores:
            store.start()
        total = len(jobs) * len(axis.values) * chips
        done = sum(key in store for job, store in work for key in job.plan.keys())
        progress(done, total, "found")
        for job, store in work:
            for cell in _missing_cells(job, axis, store, device):
                store.append(cell)
                done += 1
                progress(done, total, f"{job.plan.run}, {axis.key}={axis.format(cell.level)}")
        return [store.finish() for store in stores]


def _share_data(runs: Sequence[Run], data_dir: Path | None, download: bool) -> None:
    """Load each data set once, whatever the number of runs; it can be larger than any model."""
    loaded: dict[tuple[str, Path | None], DataSet] = {}
    for run in runs:
        source = (run.config.data, data_dir or run.config.data_dir)
        if source not in loaded:
            loaded[source] = load_data(*source, download)
        run.data = loaded[source]
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
    return _Job(run, profiles, replace(plan, metric=shown, token=run.data.token))


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


def _missing_cells(job: _Job, axis: Axis, store: Store, device: torch.device) -> Iterator[Cell]:
    x, y = job.run.data.test_x.to(device), job.run.data.test_y.to(device)
    model: nn.Module | None = None
    built_for: Profile | None = None
    for basis, level, chip in job.plan.keys():
        if (basis, level, chip) in store:
            continue
        profile = job.profiles[level]
        if model is None or profile != built_for:
            model, built_for = job.run.chip_model(profile, device), profile
        cimsim.program(model, seed=chip)
        level_s = axis.age_s(level)
        cimsim.age(model, job.plan.age_s if level_s is None else level_s)
        score = evaluate(model, x, y, job.run.data.batch_size)
        yield Cell(basis, level, chip, score.accuracy, score.loss)
