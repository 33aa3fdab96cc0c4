"""The commands that compute a subject's results again, from the files in its folder."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from cimsim.analysis.report.blocks import path_text
from cimsim.analysis.report.per_run import UNFIT, reason_of
from cimsim.analysis.studies import STUDIES
from cimsim.analysis.study import Facts, Options, Study, StudyResult, flag_of, number_text
from cimsim.analysis.subjects import Subject
from cimsim.analysis.sweeps.axis import Axis, format_axis
from cimsim.analysis.sweeps.store import Plan, read_sweep, sweep_folder, swept_axes
from cimsim.profile import typed_profile
from cimsim.terminal import one_line
from cimsim.units import typed_duration


def result_commands(subject: Subject) -> Iterator[str]:
    """Yield the commands of sweeps and studies; a comment for a damaged result."""
    for command in _commands(subject):
        try:
            yield command()
        except UNFIT as error:
            yield f"# {one_line(reason_of(error))}"


def _commands(subject: Subject) -> Iterator[Callable[[], str]]:
    assert subject.folder is not None
    for axis in swept_axes(subject.folder):
        yield partial(_sweep_command, subject.folder, axis)
    for study in STUDIES:
        for path in study.paths(subject.folder):
            yield partial(_study_command, subject, study, path)


def _study_command(subject: Subject, study: Study[Any], path: Path) -> str:
    assert subject.folder is not None
    result = study.read_file(path, subject.folder)
    options = result.options_for(subject)
    words = [*map(path_text, map(Path, result.other_runs)), *option_words(options)]
    if isinstance(result, StudyResult):
        for name, shared in _shared_words(result.facts, study).items():
            words += [] if name in type(options).model_fields else shared
    return shlex.join(["cimsim", study.command, path_text(subject.folder), *words])


def _sweep_command(folder: Path, axis: str) -> str:
    plan = read_sweep(sweep_folder(folder, axis)).plan
    words = ["--over", format_axis(Axis(plan.axis, plan.levels))]
    words += [word for shared in _shared_words(plan).values() for word in shared]
    words += [word for text in plan.layers for word in ("--layer", text)]
    words += ["--device", plan.device]
    return shlex.join(["cimsim", "sweep", path_text(folder), *words])


def option_words(options: Options) -> list[str]:
    """The options that are set, as words of a command.

    >>> from cimsim.analysis.studies.budget import BudgetOptions
    >>> option_words(BudgetOptions(shapley=True, orders=4))
    ['--shapley', '--orders', '4']
    """
    words: list[str] = []
    for name in type(options).model_fields:
        value = getattr(options, name)
        if name not in options.model_fields_set or value is None or value is False:
            continue
        flag = flag_of(name, type(options))
        values = value if isinstance(value, tuple) else (value,)
        words += [w for v in values for w in ((flag,) if v is True else (flag, _text(v)))]
    return words


def _text(value: object) -> str:
    return number_text(value) if isinstance(value, float) else str(value)


def _shared_words(of: Plan | Facts, study: Study[Any] | None = None) -> dict[str, list[str]]:
    """The options that studies share, by name."""
    usual = "perplexity" if of.token else "accuracy"
    aged = of.age_s or (study is not None and "age" in study.defaults)
    return {
        "chips": ["--chips", str(of.chips)],
        "age": ["--age", typed_duration(of.age_s)] if aged else [],
        "noise": [] if of.noise == 1 else ["--noise", number_text(of.noise)],
        "profile": [] if of.on is None else ["--profile", typed_profile(of.on)],
        "samples": [] if of.samples is None else ["--samples", str(of.samples)],
        "metric": [] if of.metric == usual else ["--metric", of.metric],
    }
