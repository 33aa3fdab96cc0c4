"""``cimsim advise``: which layers to keep digital, or to give more bits or a better device."""

from __future__ import annotations

import json
import shlex
import textwrap
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

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
    WorkerCount,
    evaluation,
)
from cimsim.errors import CimsimError

if TYPE_CHECKING:
    from cimsim.analysis.advise import Advice
    from cimsim.training.run import Run

_AS_IT_IS = "all analog, as it is"


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
) -> None:
    """Propose a mixed assignment: which layers to keep digital, to give more bits or a better
    device, so that the run on chips is as good as wanted. Verify it on chips it was not chosen on.

    Evaluations lie in RUN/sensitivity/ and RUN/advice/ and are kept cell by cell: the same command
    goes on where it was stopped.
    """
    with console.resumable(KEPT):
        from cimsim.analysis.advise import advice, write_advice
        from cimsim.analysis.sensitivity import measure, write_sensitivity
        from cimsim.analysis.study import plain
        from cimsim.analysis.subject import RunSubject
        from cimsim.training.run import Run

        if by not in ("macs", "parameters"):
            raise CimsimError(f"--by is macs or parameters, not '{by}'")
        opened = Run.open(run)
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
        path = write_advice(opened.path, found)
        if as_json:
            facts = {**asdict(found), "found": found.found, "holds": found.holds}
            console.say(json.dumps(plain(facts), indent=2))
            return
        console.show(_table(found))
        for line in (_verdict(found, by), *_orders(found, opened)):
            console.say(line)
        console.say(str(path))


def _table(found: Advice) -> Table:
    metric = found.measured
    table = Table(title=f"{metric.title} lost to digital", title_justify="left")
    table.add_column("assignment", overflow="fold")
    table.add_column("lost", justify="right")
    table.add_row(_AS_IT_IS, found.before.shown(metric))
    for step in found.steps:
        if step.layers:
            table.add_row(Text(_named(step.layers)), step.lost.shown(metric))
    table.add_section()
    table.add_row(Text(f"chosen: {_named(found.layers)}"), found.chosen.shown(metric))
    table.add_row("the same on other chips", found.verified.shown(metric))
    return table


def _named(layers: dict[str, dict[str, object]]) -> str:
    from cimsim.training.layers import format_layer

    return " ".join(format_layer(*item) for item in layers.items()) or _AS_IT_IS


def _verdict(found: Advice, by: str) -> str:
    metric = found.measured
    unit = {"%": " points"}.get(metric.unit, f" {metric.unit}".rstrip())
    target = f"{metric.shown(found.within)}{unit}"
    chosen, measured = (f"{level.shown(metric)}{unit}" for level in (found.chosen, found.verified))
    if not found.found:
        return (
            f"NOT REACHED: of all assignments that were tried and leave a layer analog, none is "
            f"within {target} of digital; the nearest loses {chosen} on the chips it was chosen "
            f"on, {measured} on others. Train against more noise, or allow a larger --within."
        )
    if not found.holds:
        return (
            f"NOT CONFIRMED: it is within {target} of digital on the chips it was chosen on, and "
            f"loses {measured} on others; ask for a smaller --within, or choose on more --chips."
        )
    share = "MACs" if by == "macs" else "parameters"
    cost = f"{100 * found.digital_share:.1f} % of the analog layers' {share} become digital"
    sure = found.verified.mean + found.verified.half_width <= found.within
    unsure = "" if sure else "; the interval is not within, more --chips make it narrower"
    return f"Reached: {measured} lost on other chips, {target} allowed; {cost}{unsure}."


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
