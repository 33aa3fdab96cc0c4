"""``cimsim cost``: energy, latency and area of an inference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cimsim.cli import console
from cimsim.cli.evaluation import Trust
from cimsim.cli.options import check_table
from cimsim.errors import CimsimError

if TYPE_CHECKING:
    from cimsim.analysis.cost import Workload
    from cimsim.profile import Profile
    from cimsim.training.run import Run


def cost(
    run: Annotated[
        Path | None,
        typer.Argument(help="Folder of a finished run.", show_default="a model without a run"),
    ] = None,
    on: Annotated[
        str | None,
        typer.Option(
            "--on",
            "--profile",
            metavar="PROFILE",
            help="Device: a name or a file.",
            show_default="the run's own",
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change a value of the device; may be repeated."
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Without a run: model, as `cimsim train` takes it.")
    ] = None,
    input_shape: Annotated[
        str | None,
        typer.Option(
            "--input",
            metavar="CxHxW",
            help="Without a run: shape of one input, such as 1x28x28, or 64 for text.",
        ),
    ] = None,
    classes: Annotated[int, typer.Option(min=1, help="Without a run: classes.")] = 10,
    inputs: Annotated[
        int, typer.Option(min=1, help="Test inputs whose mean energy is taken.")
    ] = 16,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.csv", help="Also write the table with all counts to this file."),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the data.", show_default="as in training"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    trust: Trust = False,
) -> None:
    """Energy, latency and area of one inference, by layer and by part of the chip.

    With a run, cells are those of its programmed weights, inputs those of its test data, and
    RUN/cost/ holds the result with a picture. `cimsim cost --profile NAME --model cnn --input
    1x28x28` tells of a model that was never trained, with uniform weights and inputs.
    """
    from cimsim.analysis.cost import cost_of, write_cost
    from cimsim.analysis.study import as_json as written
    from cimsim.analysis.table import table_csv
    from cimsim.training.files import write_text
    from cimsim.training.run import Run

    if out is not None:
        check_table(out)
    files: Sequence[Path] = ()
    if run is not None:
        if model is not None or input_shape is not None:
            raise CimsimError("a run knows its model and inputs; leave --model and --input out")
        opened = Run.open(run, trust)
        opened.data_dir = data_dir or opened.data_dir
        found = cost_of(_work_of_run(opened, on, overrides or [], inputs))
        found = replace(found, checkpoint_sha256=opened.checkpoint_sha256)
        files = write_cost(run, found)
    else:
        if on is None or model is None or input_shape is None:
            raise CimsimError(
                "name a run, or else --profile, --model and --input, such as --profile "
                "pcm-ibm-2020 --model cnn --input 1x28x28"
            )
        from cimsim.profile import load_profile

        device = load_profile(on, overrides or [])
        found = cost_of(_work_of_shape(model, _shape(input_shape), classes, device))
    if out is not None:
        write_text(out, table_csv(found.table()))
    for text in found.warnings:
        console.remark(text)
    if as_json:
        console.say(written(found))
        return
    console.show(console.lined_up(found.sheet()))
    console.show(console.lined_up(found.rates()))
    for path in files:
        console.say(str(path))


def _work_of_run(run: Run, on: str | None, overrides: Sequence[str], inputs: int) -> Workload:
    from cimsim.analysis.cost import workload_of
    from cimsim.nn import Assignment
    from cimsim.profile import load_profile, override_profile

    devices = run.devices if on is None else Assignment(load_profile(on))
    devices = devices.map(lambda profile: override_profile(profile, overrides))
    return workload_of(run.chip_model(devices), run.data.test_x[:inputs])


def _work_of_shape(spec: str, shape: tuple[int, ...], classes: int, profile: Profile) -> Workload:
    """The workload of an untrained model, from shapes alone."""
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
        raise CimsimError(f"--input wants channels x height x width, such as 1x28x28, not '{text}'")
    return shape
