"""``cimsim advise``: which layers to keep digital, or to give more bits or a better device."""

from __future__ import annotations

import shlex
import textwrap
from typing import TYPE_CHECKING, Annotated

import typer

from cimsim.cli import console
from cimsim.cli.evaluation import (
    KEPT,
    Age,
    AsJson,
    DataDir,
    Device,
    MetricName,
    Noise,
    RunFolder,
    Samples,
    Trust,
    WorkerCount,
    evaluation,
    present,
)
from cimsim.errors import CimsimError

if TYPE_CHECKING:
    from cimsim.analysis.advise import Advice
    from cimsim.training.run import Run


def advise(
    run: RunFolder,
    within: Annotated[
        float,
        typer.Option(
            min=0,
            help="Wanted distance from the digital model: points of accuracy, or units of another "
            "metric.",
        ),
    ] = 1.0,
    chips: Annotated[
        int, typer.Option(min=1, help="Chips to choose on, and as many others to verify on.")
    ] = 10,
    age: Age = "0s",
    noise: Noise = 1.0,
    samples: Samples = None,
    bits: Annotated[
        int, typer.Option(min=0, help="More bits that a layer's converters may get; 0 for none.")
    ] = 2,
    better: Annotated[
        str | None,
        typer.Option(
            metavar="PROFILE",
            help="Another device that layers may be put on: a name or a file.",
            show_default="none",
        ),
    ] = None,
    by: Annotated[
        str,
        typer.Option(metavar="macs|parameters", help="What a digital layer's cost is a share of."),
    ] = "macs",
    metric: MetricName = None,
    as_json: AsJson = False,
    device: Device = "auto",
    workers: WorkerCount = 1,
    data_dir: DataDir = None,
    trust: Trust = False,
) -> None:
    """Propose a mixed assignment: which layers to keep digital, to give more bits or a better
    device, so that the run on chips is as good as wanted. Verify it on chips it was not chosen on.

    Evaluations lie in RUN/sensitivity/ and RUN/advice/ and are kept cell by cell: the same command
    goes on where it was stopped.
    """
    with console.resumable(KEPT):
        from cimsim.analysis.advise import NAME, advice
        from cimsim.analysis.advise_plot import draw_advice
        from cimsim.analysis.sensitivity import measure, write_sensitivity
        from cimsim.analysis.store import ADVICE, sweep_folder
        from cimsim.analysis.subject import RunSubject
        from cimsim.training.run import Run

        if by not in ("macs", "parameters"):
            raise CimsimError(f"--by is macs or parameters, not '{by}'")
        opened = Run.open(run, trust)
        with evaluation(
            "advise",
            chips,
            age=age,
            noise=noise,
            samples=samples,
            device=device,
            metric=metric,
            workers=workers,
            data_dir=data_dir,
        ) as wanted:
            subject = RunSubject(opened, wanted)
            sensitivity = measure(subject, chips)
            write_sensitivity(opened.path, sensitivity)
            found = advice(
                subject,
                sensitivity,
                within=within / subject.metric.factor,
                bits=bits,
                better=better,
                by="products" if by == "macs" else "parameters",
            )
        words = "\n".join([found.verdict, *_orders(found, opened)])
        present(
            sweep_folder(opened.path, ADVICE),
            NAME,
            found,
            draw_advice(found),
            as_json=as_json,
            answer=words,
        )


def _orders(found: Advice, run: Run) -> list[str]:
    from cimsim.analysis.advise import as_python

    if not found.layers:
        return []
    options = " ".join(f"--layer {shlex.quote(option)}" for option in found.options)
    beside = ", beside those of the run" if run.config.layer else ""
    return [
        f"As options of `cimsim sweep {run.path}`, and of `cimsim train`{beside}:",
        f"  {options}",
        "In Python:",
        textwrap.indent(as_python(found, run.config), "  "),
    ]
