"""Make the functions of :mod:`cimsim.analysis.functions`: sweeps and studies in one call.

A function of a study is made from its descriptor, as its command is: it makes subjects of the
models, an evaluation of the keywords, and calls the study.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cimsim.analysis.keywords import (
    Keywords,
    ModelKeywords,
    distinct,
    evaluation_of,
    profile_of,
    subjects_of,
)
from cimsim.analysis.signatures import (
    bound_to,
    described,
    dressed,
    in_words_of_python,
    made,
    signature_of,
)
from cimsim.analysis.study import Options, Result, Study, option
from cimsim.errors import CimsimError

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from cimsim.analysis.cost import Cost
    from cimsim.analysis.subjects import Subject
    from cimsim.analysis.sweeps.result import SweepResult
    from cimsim.profile import Profile

COST_INPUTS = 16
"""Test inputs whose energy is averaged."""


class SweepKeywords(Options):
    """Evaluate models at each level of an axis, all on the same chips.

    Trials are the same as those of ``cimsim sweep``. With ``store``, each finished one is kept, and
    a later call with more levels or chips evaluates the missing ones only.
    """

    over: Any = option(
        ...,
        "Axis and its levels: ``noise=0:2:0.25``, ``time=1s,1h,1d,1y``, ``adc.bits=ideal,8,6,4``, "
        "``dac.bits``, ``cycle=0,1,2`` (the same chips written again), or any dotted key of the "
        "profile. Levels from Python: ``{'noise': [0, 1, 2]}``.",
    )
    layers: Any = option(
        None, "Other profiles of some layers, by patterns as in :func:`cimsim.convert`."
    )


def study_function(study: Study[Any], results: Sequence[type[Result]] = ()) -> Callable[..., Any]:
    """The function of a study in Python.

    Args:
        study: its descriptor, with ``run``.
        results: classes of its results; the descriptor's by default.
    """
    run, groups = study.run, (study.options, Keywords, ModelKeywords)
    assert run is not None
    own = study.options.model_fields
    names = [kind.__name__ for kind in results or [study.result]]
    signature = signature_of(groups, study.defaults, " | ".join(names))

    def function(*args: Any, **kwargs: Any) -> Any:
        given = bound_to(signature, study.function, args, kwargs)
        with in_words_of_python(study.options):
            options = made(study.options, given)
            options.refuse_without_effect()
            shared = {name: value for name, value in given.items() if name not in own}
            keywords = made(Keywords, {**study.defaults, **shared})
            of_models = made(ModelKeywords, given)
            subjects = subjects_of(given["model"], given.get("score"), of_models)
            if len(subjects) > 1 and not study.several:
                raise CimsimError(
                    f"{study.function} expects one model, but got {len(subjects)}; call it for each"
                )
            return kept(subjects[0], run(subjects, evaluation_of(keywords, subjects), options))

    return dressed(function, study.function, signature, described(study.options), groups)


def kept(subject: Subject, result: Any) -> Any:
    """Return ``result``, and write it to the folder of ``subject`` if that has one."""
    from cimsim.analysis.shown import write_result

    if subject.folder is not None:
        write_result(subject.folder, result)
    return result


def sweep_function() -> Callable[..., SweepResult]:
    """The function that sweeps."""
    groups = (SweepKeywords, Keywords, ModelKeywords)
    signature = signature_of(groups, {}, "SweepResult")

    def function(*args: Any, **kwargs: Any) -> SweepResult:
        from cimsim.analysis.sweeps.axis import Axis, parse_axis
        from cimsim.analysis.sweeps.result import SweepResult
        from cimsim.analysis.sweeps.sweep import sweep

        given = bound_to(signature, "sweep", args, kwargs)
        own, keywords = made(SweepKeywords, given), made(Keywords, given)
        axis = own.over if isinstance(own.over, Axis) else parse_axis(own.over)
        subjects = subjects_of(given["model"], given.get("score"), made(ModelKeywords, given))
        sweeps = sweep(subjects, axis, evaluation_of(keywords, subjects), layers=own.layers)
        names = distinct([(subject.name, subject) for subject in subjects])
        return SweepResult(tuple(names), tuple(sweeps))

    return dressed(function, "sweep", signature, described(SweepKeywords), groups)


def cost(
    model: nn.Module | Subject,
    inputs: Any = None,
    *,
    profile: Profile | Path | str | None = None,
) -> Cost:
    """Compute energy, latency and area of one inference, by layer and by part of the chip.

    Args:
        model: converted model, calibrated or not; a subject, or a run opened by
            :func:`cimsim.runs.open_run`.
        inputs: batch of test inputs in any form that :func:`cimsim.calibrate` accepts. The energy
            depends on them and on the programmed weights, and is the mean over the batch. For a
            run, the number of test inputs, 16 by default.
        profile: profile to compute the cost on: a name, a file or a :class:`cimsim.Profile`; the
            model's own by default.

    Raises:
        CimsimError: if the model is not converted, has no inputs, or does not fit the profile.

    >>> import torch, cimsim
    >>> model = cimsim.convert(torch.nn.Linear(64, 10), "pcm-hermes-2023")
    >>> cimsim.cost(model, torch.rand(16, 64)).macs
    640
    """
    from cimsim.analysis.cost import conditions_on, cost_of, workload_of
    from cimsim.analysis.subjects import Subject
    from cimsim.nn import Assignment

    chosen = profile_of(profile)
    if isinstance(model, Subject):
        count = inputs if isinstance(inputs, int) else COST_INPUTS
        batch = model.inputs(count) if inputs is None or isinstance(inputs, int) else inputs
        on = Assignment(chosen) if chosen else model.assignment
        result = replace(
            cost_of(workload_of(model.model(on), batch)),
            checkpoint_sha256=model.fingerprint,
            **conditions_on(on, model.assignment),
        )
        kept(model, result)
        return result
    if inputs is None:
        raise CimsimError("the cost of a model needs inputs; pass a batch of its test inputs")
    return cost_of(model, inputs, profile=chosen)
