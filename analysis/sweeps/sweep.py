"""Evaluate subjects over an axis, chip by chip, so that a sweep can be stopped and resumed."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence, Set
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import torch

from cimsim.analysis.evaluation import FINISHED_BEFORE, Evaluation
from cimsim.analysis.subjects import Subject, assignment_on
from cimsim.analysis.sweeps.axis import Axis, Level
from cimsim.analysis.sweeps.engine import LocalEngine, Task
from cimsim.analysis.sweeps.metric import Scores
from cimsim.analysis.sweeps.store import WHOLE, Key, Plan, Shard, Store, Sweep, Trial, open_store
from cimsim.computation import computed_by
from cimsim.errors import CimsimError, CimsimWarning
from cimsim.layer_options import Layers, format_layer
from cimsim.nn import Assignment, analog_layers, set_profile
from cimsim.profile import typed_profile
from cimsim.terminal import one_line


@dataclass(frozen=True)
class _Job:
    """One subject with everything that its trials need."""

    subject: Subject
    assignments: dict[Level, Assignment]
    plan: Plan


def sweep(
    subjects: Sequence[Subject],
    axis: Axis,
    evaluation: Evaluation = Evaluation(),  # noqa: B008
    *,
    layers: Layers | None = None,
    shard: Shard = WHOLE,
) -> list[Sweep]:
    """Evaluate each subject at each level of ``axis`` on the same chips.

    Trials that are already in the subject's folder are not evaluated again. Each new one is written
    to disk before the next begins.

    Args:
        subjects: what to evaluate, each on its own test data.
        axis: what varies.
        evaluation: chips, profile, metric, engine; its age applies only where the axis is not time.
        layers: other profiles for some layers, by patterns as in :func:`cimsim.convert`, on top of
            the evaluation's. The axis changes every layer's own profile.
        shard: ``(i, n)`` evaluates only the i-th of n parts; other processes or machines evaluate
            the others, into the same folders.

    Returns:
        One sweep per subject, in their order. No trial is missing, or with ``shard`` those of the
        other parts that are not finished.

    Raises:
        CimsimError: if a profile rejects a level, ``layers`` sets what the axis varies, a subject
            does not use simulated chips, data is missing, or a folder cannot be written or is being
            written by another process. Nothing has been evaluated then.
    """
    if evaluation.chips < 1:
        raise CimsimError(f"a sweep needs at least 1 chip, not {evaluation.chips}")
    if evaluation.age_s and any(axis.age_s(level) is not None for level in axis.values):
        raise CimsimError("the levels of the time axis are ages; leave the other age out")
    if evaluation.noise != 1 and axis.key == "noise":
        raise CimsimError("the levels of the noise axis are factors; leave the other noise out")
    if not 1 <= shard[0] <= shard[1]:
        raise CimsimError(f"there is no part {shard[0]} of {shard[1]}; the first is 1")
    _refuse_clash(axis, layers or {})
    for subject in subjects:
        subject.check_chips()
    jobs = [_job(subject, axis, evaluation, layers or {}) for subject in subjects]
    with ExitStack() as stack:
        stores = [
            stack.enter_context(open_store(job.subject, axis.key, job.plan, shard)) for job in jobs
        ]
        part, parts = shard
        tasks = [pair for i, job in enumerate(jobs) for pair in _tasks(i, job, axis, evaluation)]
        tasks = tasks[part - 1 :: parts]
        missing = [(key, task) for key, task in tasks if key not in stores[task.subject]]
        for key, task in tasks:
            if key in stores[task.subject]:
                _refuse_other_scores(jobs[task.subject], stores[task.subject].scores(key))
        _warn_of_older(stores, {task.subject for _, task in missing})
        done = done_before = len(tasks) - len(missing)
        evaluation.progress(done, len(tasks), FINISHED_BEFORE)
        engine, device = evaluation.engine or LocalEngine(), torch.device(evaluation.device)
        for number, scores in engine.scores(subjects, [task for _, task in missing], device):
            if done == done_before:  # nothing can reject the sweep any longer
                for store in stores:
                    store.start()
            (basis, level, chip), task = missing[number]
            stores[task.subject].append(Trial(basis, level, chip, dict(scores)))
            done += 1
            doing = (jobs[task.subject].plan.run, axis.named(level))
            evaluation.progress(done, len(tasks), ", ".join(filter(None, doing)))
        if not missing:
            for store in stores:
                store.start()
        return [store.finish() for store in stores]


def _warn_of_older(stores: Sequence[Store], evaluated: Set[int]) -> None:
    """Warn of trials of another version in the stores of the subjects that are ``evaluated``."""
    for number, store in enumerate(stores):
        if store.older and number in evaluated:
            warnings.warn(
                f"{store.place}: trials of cimsim {store.older} are evaluated again, because "
                f"{computed_by()} may compute other numbers",
                CimsimWarning,
                stacklevel=3,
            )


def _refuse_other_scores(job: _Job, scores: Scores) -> None:
    """Refuse a finished trial that the metric cannot be computed from: it would be NaN."""
    source = job.plan.measured.source
    if source not in scores and source in job.plan.digital_scores:
        subject = job.subject
        raise CimsimError(
            f"{subject.folder or subject.name}: finished trials have the scores "
            f"{', '.join(scores)}, but not '{source}'; if the scoring function has changed, change "
            "the text data='…'"
        )


def _refuse_clash(axis: Axis, layers: Layers) -> None:
    """Refuse settings of single layers that the axis sets for all of them."""
    for pattern, settings in layers.items():
        for key in settings:
            if axis.key == key or axis.key.startswith(f"{key}.") or key.startswith(f"{axis.key}."):
                raise CimsimError(
                    f"layers '{pattern}': {key} is set, and {axis.key} is swept for all layers; "
                    "leave one of them out"
                )


def _job(subject: Subject, axis: Axis, evaluation: Evaluation, layers: Layers) -> _Job:
    skeleton = subject.skeleton()
    try:
        own, base = subject.assignment, assignment_on(subject, evaluation.profile)
        other = None if base.facts() == own.facts() else base.name
        changes = _changes(base, own) if other else ()
        base = base.map(lambda profile: profile.scale_noise(evaluation.noise))
        if layers:
            base = base.changed(subject.layers, layers, subject.digital_layers)
        at_levels = {level: axis.assign(base, level) for level in axis.values}
        calibrates = any(axis.adaptation(level) is not None for level in axis.values)
        for assignment in at_levels.values():
            set_profile(skeleton, assignment)  # raises on what does not fit, before any trial
            layers_now = analog_layers(skeleton).values()
            calibrates |= not all(layer.calibrated for layer in layers_now)
    except CimsimError as error:
        raise CimsimError(f"{subject.folder or subject.name}: {error}") from None
    plan = _plan(subject, base, axis, evaluation, calibrates)
    texts = tuple(_layer_text(*item) for item in layers.items())
    return _Job(subject, at_levels, replace(plan, on=other, layers=texts, changes=changes))


def _changes(base: Assignment, own: Assignment) -> tuple[str, ...]:
    """Overrides of the profiles of ``base`` that those of ``own`` do not have."""
    known = {text for profile in own.profiles for text in profile.overrides}
    changes = (text for profile in base.profiles for text in profile.overrides)
    return tuple(dict.fromkeys(text for text in changes if text not in known))


def _layer_text(pattern: str, settings: Mapping[str, Any]) -> str:
    """Format as :func:`cimsim.layer_options.parse_layers` reads it, profiles by name."""
    named = {k: typed_profile(v.name) if k == "profile" else v for k, v in settings.items()}
    return format_layer(pattern, named)


def _plan(
    subject: Subject, assignment: Assignment, axis: Axis, evaluation: Evaluation, calibrates: bool
) -> Plan:
    profile, layers = assignment.facts()
    device, age_s = torch.device(evaluation.device).type, evaluation.age_s
    digital_scores = subject.digital_scores(evaluation.samples, evaluation.device)
    facts: list[object] = [
        subject.fingerprint,
        profile,
        axis.key,
        subject.data_fingerprint,
        device,
        computed_by(),
        age_s,
    ]
    # Added only if given, so that the basis of results without them is unchanged.
    if layers:
        facts.append(layers)
    if evaluation.samples is not None:
        facts.append({"samples": evaluation.samples})
    if calibrates and subject.calibration_fingerprint:
        facts.append({"calibration": subject.calibration_fingerprint})
    return Plan(
        run=one_line(subject.name),
        profile=assignment.name,
        axis=axis.key,
        levels=axis.values,
        chips=evaluation.chips,
        first_chip=evaluation.first_chip,
        digital_scores=dict(digital_scores),
        basis=hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16],
        checkpoint_sha256=subject.fingerprint,
        data=subject.data,
        device=device,
        cimsim=computed_by(),
        age_s=age_s,
        metric=evaluation.metric_of(subject).name,
        token=subject.token,
        noise=evaluation.noise,
        samples=evaluation.samples,
        split=subject.split,
    )


def _tasks(number: int, job: _Job, axis: Axis, evaluation: Evaluation) -> list[tuple[Key, Task]]:
    """Every trial of a subject's plan."""
    tasks = []
    for key in job.plan.keys():
        _, level, chip = key
        level_s = axis.age_s(level)
        task = Task(
            subject=number,
            assignment=job.assignments[level],
            chip=chip,
            age_s=evaluation.age_s if level_s is None else level_s,
            samples=evaluation.samples,
            adaptation=axis.adaptation(level),
            counts_cost=axis.counts_cost,
            cycle=axis.cycle(level),
            name=", ".join(filter(None, (f"chip {chip}", axis.named(level)))),
        )
        tasks.append((key, task))
    return tasks
