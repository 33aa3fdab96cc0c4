"""What the functions of :mod:`cimsim.analysis.functions` make of their arguments: subjects and an
evaluation."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from cimsim.analysis.shared_options import SharedOptions
from cimsim.analysis.study import option
from cimsim.errors import CimsimError, CimsimWarning
from cimsim.folders import named_folder
from cimsim.units import parse_duration

if TYPE_CHECKING:
    from cimsim.analysis.evaluation import Evaluation
    from cimsim.analysis.subjects import Subject


class Keywords(SharedOptions):
    """The keywords that all functions share: the options of the commands, with more types."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True, extra="forbid")

    age: str | float = option(  # type: ignore[assignment]  # more than the commands
        "0s", "Age of the chips: text such as ``1h``, ``1 day`` or ``1y``, or seconds."
    )
    profile: Any = option(
        None,
        "Profile to evaluate on: a name, a file or a :class:`cimsim.Profile`.",
        default_text="the model's own",
    )
    metric: str | None = option(
        None,
        "Name of the score to show; ``name:min`` if lower is better.",
        default_text="the first score; higher is better",
    )
    device: Any = option(
        "auto",
        "Torch device to compute on.",
        default_text="the model's own, and for runs a GPU if there is one",
    )
    workers: int = option(
        1,
        "Number of processes; it does not change results. 0 and 1 use this process.",
        ge=0,
    )
    first_chip: int = option(0, "Seed of the first chip; the others follow.", ge=0)
    progress: Any = option(
        None, "Function called after every trial, see :data:`cimsim.analysis.evaluation.Progress`."
    )


class ModelKeywords(BaseModel):
    """The keywords that describe models in memory; runs need none of them."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    calibration: Any = option(
        (), "Batches of training inputs, to calibrate converters that need new ranges."
    )
    inputs: Any = option(None, "Batch of test inputs, for costs.")
    name: str | None = option(None, "Name in tables and figures.", default_text="the model's class")
    data: str = option(
        "",
        "Text that describes the test data and the score; required for a function with "
        "``store``, because stored results are reused only if this text is the same.",
    )
    store: Any = option(
        None,
        "Folder to keep results in, from which a later call continues.",
        default_text="none, in memory",
    )


FIRST = {
    "model": "Converted model, calibrated unless ``calibration`` is given; a subject, or a run "
    "opened by :func:`cimsim.runs.open_run`; or a list of these, or a dictionary of them by name.",
    "score": "Function of a model that returns a number, or a dictionary of numbers; or batches of "
    "inputs and labels, such as a data loader, to compute accuracy and loss. A run needs none.",
}
"""Descriptions of the first arguments."""


def subjects_of(models: Any, score: Any, given: ModelKeywords) -> list[Subject]:
    """Make subjects of what a function is given.

    Raises:
        CimsimError: if something is not a model, a model has no score, or a subject gets one.
    """
    from cimsim.analysis.subjects import Subject

    pairs: list[tuple[str | None, Any]]
    if isinstance(models, Mapping):
        pairs = [(str(name), model) for name, model in models.items()]
    else:
        several = isinstance(models, list | tuple)
        pairs = [(given.name, model) for model in (models if several else [models])]
    if not pairs:
        raise CimsimError("there is no model; pass a converted model, a subject or an opened run")
    names = distinct(pairs)
    subjects: list[Subject] = [
        model if isinstance(model, Subject) else _subject(model, score, name, given)
        for name, (_, model) in zip(names, pairs, strict=True)
    ]
    if all(isinstance(model, Subject) for _, model in pairs):
        _refuse_score(score, given)
    if given.store is not None:
        folders = [named_folder(given.store)]
        if len(subjects) > 1:
            folders = [folders[0] / _file_name(name) for name in names]
        for subject, folder in zip(subjects, folders, strict=True):
            subject.keep_in(folder)
    return subjects


def distinct(pairs: Sequence[tuple[str | None, Any]]) -> list[str]:
    """A name for each model: the given one or its class, with a number if several have it."""
    names = [name or getattr(model, "name", None) or type(model).__name__ for name, model in pairs]
    return [
        f"{name} {names[: i + 1].count(name)}" if names.count(name) > 1 else name
        for i, name in enumerate(names)
    ]


def _subject(model: Any, score: Any, name: str, given: ModelKeywords) -> Subject:
    from torch import nn

    from cimsim.analysis.subjects import ModelSubject

    if not isinstance(model, nn.Module):
        raise CimsimError(
            f"model is a {type(model).__name__}; pass a converted model, a subject or a run opened "
            "by cimsim.runs.open_run"
        )
    if score is None:
        raise CimsimError(
            f"{name} has no score; pass a function of the model that returns a number, or a data "
            "loader of inputs and labels"
        )
    return ModelSubject(
        model,
        score,
        inputs=given.inputs,
        calibration=given.calibration,
        name=name,
        data=given.data,
    )


def _refuse_score(score: Any, given: ModelKeywords) -> None:
    """Refuse what subjects define themselves."""
    own = {"score": score, **{k: getattr(given, k) for k in ("inputs", "data", "name")}}
    for name, value in own.items():
        if value:
            raise CimsimError(f"a subject or run defines its {name} itself; leave {name} out")


def _file_name(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in name)


def evaluation_of(given: Keywords, subjects: Sequence[Subject]) -> Evaluation:
    """The evaluation that keywords describe.

    Raises:
        CimsimError: if a profile, an age or a device is none.
    """
    from cimsim.analysis.evaluation import Evaluation, silent
    from cimsim.analysis.sweeps.engine import ProcessEngine

    return Evaluation(
        given.chips,
        first_chip=given.first_chip,
        samples=samples_of(given.samples, subjects),
        age_s=parse_duration(given.age),
        profile=profile_of(given.profile),
        noise=given.noise,
        device=device_of(given.device, subjects),
        metric=given.metric,
        engine=ProcessEngine(given.workers) if given.workers > 1 else None,
        progress=given.progress or silent,
    )


def profile_of(profile: Any) -> Any:
    """Return the profile of that name or file; a profile is returned unchanged.

    Raises:
        CimsimError: if it is none.
    """
    from cimsim.nn import Assignment
    from cimsim.profile import Profile, load_profile

    if profile is None or isinstance(profile, Profile | Assignment):
        return profile
    if isinstance(profile, str | Path):
        return load_profile(profile)
    raise CimsimError(
        f"profile is a {type(profile).__name__}; pass the name of a profile, a file or a "
        "cimsim.Profile"
    )


def samples_of(samples: int | None, subjects: Sequence[Subject]) -> int | None:
    """The number of test samples to evaluate ``subjects`` on: ``samples``, or None for all if there
    are fewer. A warning names each subject that has fewer."""
    fewer = [
        subject
        for subject in subjects
        if samples is not None
        and subject.test_samples is not None
        and subject.test_samples < samples
    ]
    for subject in fewer:
        warnings.warn(
            f"{subject.name}: all {subject.test_samples} {subject.split} samples are used, because "
            f"there are fewer than {samples}",
            CimsimWarning,
            stacklevel=2,
        )
    return None if len(fewer) == len(subjects) else samples


def device_of(device: Any, subjects: Sequence[Subject]) -> str:
    """The device to evaluate ``subjects`` on; ``auto`` is the device of models in memory, and a GPU
    for runs if there is one.

    Raises:
        CimsimError: if the device is not available.
    """
    from cimsim.torch_device import working_device

    own = {subject.device for subject in subjects} - {None}
    if device == "auto" and len(own) == 1:
        return str(own.pop())
    return working_device(str(device))
