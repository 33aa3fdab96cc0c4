"""``cimsim explore``: the designs of a chip that none beats in accuracy and cost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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
    Trust,
    WorkerCount,
    evaluation,
    present,
)


def explore(
    runs: Annotated[
        list[Path],
        typer.Argument(help="Folders of finished runs on the same data, to choose from."),
    ],
    over: Annotated[
        list[str],
        typer.Option(
            metavar="KEY=LEVELS",
            help="What may be chosen, such as adc.bits=4,5,6,8 or array.rows=128,256,512; can be "
            "repeated.",
        ),
    ],
    on: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PROFILE",
            help="Device to choose from: a name or a file; can be repeated.",
            show_default="each run's own",
        ),
    ] = None,
    budget: Annotated[int, typer.Option(min=2, help="Designs to evaluate at most.")] = 40,
    chips: Annotated[int, typer.Option(min=1, help="Chips for each design.")] = 3,
    final_chips: Annotated[
        int, typer.Option(min=1, help="Chips for each design on the front.")
    ] = 10,
    cost: Annotated[
        str, typer.Option(metavar="energy|latency|area", help="What is to be small.")
    ] = "energy",
    age: Age = "0s",
    noise: Noise = 1.0,
    metric: MetricName = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides what the search proposes.")] = 0,
    as_json: AsJson = False,
    device: Device = "auto",
    workers: WorkerCount = 1,
    data_dir: DataDir = None,
    trust: Trust = False,
) -> None:
    """Search designs of a chip (run, device, converters, tiles) for the best accuracy at each cost.

    Where there are more designs than --budget, Optuna chooses those to evaluate (pip install
    'cimsim-torch[tune]'). Cells are kept in each RUN/explore/, so that the same command goes on
    where it was stopped, and a larger budget adds to it; the front lies in that of the first run.
    """
    with console.resumable(KEPT):
        from cimsim.analysis import explore as study
        from cimsim.analysis.explore_plot import draw_front
        from cimsim.analysis.levels import parse_axis
        from cimsim.analysis.store import EXPLORE, sweep_folder
        from cimsim.cli.runs import open_runs
        from cimsim.profile import load_profile

        opened = open_runs(runs, trust)
        devices = tuple(load_profile(name) for name in on or ())
        space = study.Space(tuple(opened), devices or (None,), tuple(map(parse_axis, over)))
        with evaluation(
            "explore",
            chips,
            age=age,
            noise=noise,
            device=device,
            metric=metric,
            workers=workers,
            data_dir=data_dir,
        ) as wanted:
            found = study.explore(
                space, wanted, budget=budget, final_chips=final_chips, cost=cost, seed=seed
            )
        for text in found.warnings:
            console.remark(text)
        present(
            sweep_folder(opened[0].path, EXPLORE),
            study.NAME,
            found,
            draw_front(found),
            as_json=as_json,
            answer=found.answer,
        )
