"""``cimsim sweep``: evaluate runs over an axis, on the same chips."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cimsim.cli import console
from cimsim.cli.evaluation import RESUME, EvaluationOptions, RunFolders, Wide, evaluation
from cimsim.cli.options import check_table, configured, options_of
from cimsim.errors import CimsimError


@options_of(EvaluationOptions)
def sweep(
    runs: RunFolders,
    over: Annotated[
        str,
        typer.Option(
            metavar="AXIS=LEVELS",
            help="Axis and its levels: noise=0:2:0.25, time=1s,1h,1d,1y, adc.bits=ideal,8,6,4, "
            "dac.bits, cycle=0,1,2 (the same chips written again), or any dotted key of the "
            "profile.",
        ),
    ],
    layer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN:SETTING",
            help="Another profile for some layers, such as 'fc2:digital', 'conv*:adc.bits=8' or "
            "'*.mlp.*:profile=NAME'; can be repeated.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.csv", help="Also write one table of all runs to this file."),
    ] = None,
    shard: Annotated[
        str,
        typer.Option(
            metavar="I/N",
            help="Evaluate only the I-th of N parts, such as one for each task of a job array.",
        ),
    ] = "1/1",
    wide: Wide = False,
    **settings: Any,
) -> None:
    """Evaluate each run at each level of an axis on the same chips.

    Results are written to RUN/sweeps/AXIS/, and a table shows the mean with its 95 % interval and
    the worst chip. Finished trials are kept: run the same command again to resume.
    """
    with console.resumable(RESUME):
        from cimsim.analysis.studies.designs import subject_names
        from cimsim.analysis.sweeps.axis import parse_axis
        from cimsim.analysis.sweeps.result import SweepResult
        from cimsim.analysis.sweeps.stats import levels_matter
        from cimsim.analysis.sweeps.store import write_csv
        from cimsim.analysis.sweeps.sweep import sweep as evaluate
        from cimsim.layer_options import parse_layers, with_profiles

        axis, options = parse_axis(over), configured(EvaluationOptions, settings)
        if out is not None:
            check_table(out)
        subjects, part = options.subjects(runs), _shard(shard)
        names = subject_names(subjects)
        layers = with_profiles(parse_layers(layer or []))
        of_parts = "" if part[1] == 1 else f"part {shard}, "
        with evaluation("sweep", options, subjects, of_parts) as chosen:
            sweeps = evaluate(subjects, axis, chosen, layers=layers, shard=part)
        if missing := sum(sweep.missing for sweep in sweeps):
            writes = "" if out is None else f" and writes {out}"
            console.remark(
                f"part {shard} is finished, {missing} trials of other parts are not; when all are "
                f"finished, the same command without --shard prints the table{writes}"
            )
            return
        if out is not None:
            write_csv(out, sweeps, names)
        console.show_sheet(SweepResult(tuple(names), tuple(sweeps)).sheet(), wide)
        for name, sweep in zip(names, sweeps, strict=True):
            if len(axis.values) > 1 and not levels_matter(sweep.trials):
                console.remark(
                    f"{name}: every level of {axis.key} gives the same results; "
                    f"its profile {sweep.plan.profile} does not depend on {axis.key} here"
                )


def _shard(text: str) -> tuple[int, int]:
    part, _, parts = text.partition("/")
    try:
        return int(part), int(parts)
    except ValueError:
        raise CimsimError(
            f"--shard must be a part and the number of parts, such as 1/4, not '{text}'"
        ) from None
