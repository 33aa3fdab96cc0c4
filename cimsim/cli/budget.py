"""``cimsim budget``: what each non-ideality of the device costs a trained model."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from cimsim.cli import console

if TYPE_CHECKING:
    from cimsim.analysis.budget import Budget
    from cimsim.analysis.metric import Metric
    from cimsim.analysis.stats import Summary
    from cimsim.analysis.store import Plan


def budget(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    chips: Annotated[int, typer.Option(min=1, help="Chips for each device.")] = 10,
    age: Annotated[
        str, typer.Option(metavar="TIME", help="Age of the chips, such as 1h, '1 day' or 1y.")
    ] = "1d",
    noise: Annotated[float, typer.Option(min=0, help="Factor on every noise of the device.")] = 1.0,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.png",
            help="Picture to write; its SVG stands beside it.",
            show_default="RUN/budget/budget.png",
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            help="accuracy, perplexity, bits (per character) or loss.",
            show_default="accuracy, perplexity for text",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    device: Annotated[
        str, typer.Option(metavar="cpu|cuda|auto", help="Where to compute.")
    ] = "auto",
    data_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the data.", show_default="as in training"),
    ] = None,
) -> None:
    """Evaluate a run with each non-ideality of its device alone, and with all but each.

    Every device meets the same chips. Converters that change are calibrated anew. Results lie in
    RUN/budget/ and are kept cell by cell: the same command goes on where it was stopped, and with
    more chips adds to what is there.
    """
    with console.resumable("every finished cell is kept, the same command goes on from there"):
        from cimsim.analysis.budget import budget_axis, budget_of, draw_budget
        from cimsim.analysis.plot import save
        from cimsim.analysis.store import BUDGET, sweep_folder
        from cimsim.analysis.sweep import sweep
        from cimsim.training.device import working_device
        from cimsim.training.run import Run
        from cimsim.units import parse_duration

        opened = Run.open(run)
        axis = budget_axis(opened.profile.scale_noise(noise))
        with console.progress_bar("{task.completed}/{task.total}") as bar:
            task = bar.add_task("budget", total=0)

            def advance(done: int, total: int, doing: str) -> None:
                bar.update(task, completed=done, total=total, description=doing)
                if bar.disable and done % chips == 0:
                    console.log(f"{doing}: {done} of {total} cells")

            (found,) = sweep(
                [opened],
                axis,
                chips,
                age_s=parse_duration(age),
                noise=noise,
                device=working_device(device),
                data_dir=data_dir,
                metric=metric,
                progress=advance,
            )
        result = budget_of(found)
        picture = out or sweep_folder(opened.path, BUDGET) / "budget.png"
        files = save(draw_budget(result, found), picture)
        if as_json:
            facts = {"age_s": found.plan.age_s, "noise": noise, "metric": found.plan.metric}
            facts |= asdict(result)
            console.say(json.dumps(facts, indent=2, allow_nan=True))
            return
        console.show(_table(result, found.plan, age, noise))
        for path in files:
            console.say(str(path))


def _table(budget: Budget, plan: Plan, age: str, noise: float) -> Table:
    counted = f"{plan.chips} chips" if plan.chips > 1 else "1 chip"
    metric = plan.measured
    scaled = "" if noise == 1 else f", {noise:g} times the noise"
    title = f"{metric.heading}, {counted} at {age}{scaled}"
    table = Table(title=title, title_justify="left")
    table.add_column("non-ideality", overflow="fold")
    for heading in ("alone", "lost", "all but it", "gained"):
        table.add_column(heading, justify="right")
    table.add_row("none", _value(budget.nothing, metric), "", "", "")
    for share in budget.shares:
        cells = (share.alone, share.lost, share.rest, share.gained)
        table.add_row(Text(share.name), *(_value(cell, metric) for cell in cells))
    table.add_row("all", _value(budget.everything, metric), "", "", "")
    return table


def _value(level: Summary, metric: Metric) -> str:
    interval = f" ± {metric.shown(level.half_width)}" if level.chips > 1 else ""
    return f"{metric.shown(level.mean)}{interval}"
