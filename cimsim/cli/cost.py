"""``cimsim cost``: energy, latency and area of an inference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cimsim.analysis.calls import COST_INPUTS
from cimsim.cli.evaluation import OWN_HELP, AsJson, DataDir, Store, Trust, Wide
from cimsim.cli.figures import look_from, look_options, refuse_look
from cimsim.cli.options import check_table
from cimsim.cli.studies import present, show
from cimsim.errors import CimsimError

if TYPE_CHECKING:
    from cimsim.analysis.cost import Workload
    from cimsim.analysis.subjects import Subject
    from cimsim.nn import Assignment
    from cimsim.profile import Profile

_CLASSES = 10  # of --model


@look_options
def cost(
    run: Annotated[
        Path | None,
        typer.Argument(
            metavar="RUN",
            help=f"Folder of a finished run, {OWN_HELP}.",
            show_default="a model without a run",
        ),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            "--profile",
            metavar="PROFILE",
            help="Profile to compute the cost on: a name or a file.",
            show_default="the run's own",
        ),
    ] = None,
    old_on: Annotated[str | None, typer.Option("--on", hidden=True)] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change a value of the profile; can be repeated."
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Model, as for `cimsim train`, instead of a run.")
    ] = None,
    input_shape: Annotated[
        str | None,
        typer.Option(
            "--input",
            metavar="CxHxW",
            help="Shape of one input of --model, such as 1x28x28, or 64 for text.",
        ),
    ] = None,
    classes: Annotated[
        int | None,
        typer.Option(min=1, help="Number of classes of --model.", show_default=str(_CLASSES)),
    ] = None,
    inputs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Maximum number of test inputs of a run to average the energy over.",
            show_default=str(COST_INPUTS),
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.csv", help="Also write a table with all counts to this file."),
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
    wide: Wide = False,
    trust: Trust = False,
    store: Store = None,
    **settings: Any,
) -> None:
    """Compute energy, latency and area of one inference, by layer and by part of the chip.

    For a run, the energy is computed from the programmed weights and test inputs, and the result is
    written to RUN/cost/. `cimsim cost --profile NAME --model cnn --input 1x28x28` computes the cost
    of an untrained model, with uniformly distributed weights and inputs.
    """
    from cimsim.analysis.cost import conditions_on, cost_of, workload_of
    from cimsim.analysis.table import table_csv
    from cimsim.cli.runs import open_subjects
    from cimsim.files import write_text
    from cimsim.profile import load_profile

    profile = profile or old_on
    look = look_from(settings)
    if out is not None:
        check_table(out)
    if run is not None:
        (subject,) = open_subjects([run], trust, data_dir, store=store)
        assignment = _assignment_of(subject, profile, overrides or [])
        result = replace(
            cost_of(workload_of(subject.model(assignment), subject.inputs(inputs or COST_INPUTS))),
            checkpoint_sha256=subject.fingerprint,
            **conditions_on(assignment, subject.assignment),
        )
        assert subject.folder is not None
        present(subject.folder, result, as_json, wide, look=look)
    else:
        if profile is None or model is None or input_shape is None:
            raise CimsimError(
                "name a run, or set --profile, --model and --input, such as --profile "
                "pcm-ibm-2020 --model cnn --input 1x28x28"
            )
        refuse_look(settings, "leave it out, or name a run")
        loaded = load_profile(profile, overrides or [])
        work = _work_of_shape(model, _shape(input_shape), classes or _CLASSES, loaded)
        result = cost_of(work)
        show(result, as_json, wide)
    if out is not None:
        write_text(out, table_csv(result.rows()))


def _assignment_of(subject: Subject, profile: str | None, overrides: Sequence[str]) -> Assignment:
    from cimsim.nn import Assignment
    from cimsim.profile import load_profile, override_profile

    own = subject.assignment if profile is None else Assignment(load_profile(profile))
    return own.map(lambda each: override_profile(each, overrides))


def _work_of_shape(spec: str, shape: tuple[int, ...], classes: int, profile: Profile) -> Workload:
    """Compute the workload of an untrained model, from shapes alone."""
    import torch

    from cimsim.analysis.cost import workload_of
    from cimsim.nn import convert
    from cimsim.training.models import build_model

    model = build_model(spec, shape, classes, seed=0).to("meta")
    convert(model, profile, inplace=True)
    numbers = torch.int64 if len(shape) == 1 else torch.float32
    return workload_of(model, torch.zeros(1, *shape, dtype=numbers, device="meta"))


def _shape(text: str) -> tuple[int, ...]:
    try:
        shape = tuple(map(int, text.split("x")))
    except ValueError:
        shape = ()
    if len(shape) not in (1, 3) or min(shape) < 1:
        raise CimsimError(
            f"--input must be channels x height x width, such as 1x28x28, not '{text}'"
        )
    return shape
