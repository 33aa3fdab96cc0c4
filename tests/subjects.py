"""Runs as subjects, in few words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from cimsim.analysis.evaluation import Evaluation
from cimsim.analysis.report import page
from cimsim.analysis.report.blocks import Part
from cimsim.analysis.sweeps import sweep as sweeps
from cimsim.analysis.sweeps.axis import Axis, Level
from cimsim.analysis.sweeps.store import WHOLE, Shard, Sweep, Trial
from cimsim.layer_options import Layers
from cimsim.runs import RunSubject
from cimsim.runs import commands as run_commands
from cimsim.runs import report as run_report
from cimsim.training.run import Run


def sweep(
    runs: Sequence[Run],
    axis: Axis,
    chips: int,
    *,
    layers: Layers | None = None,
    shard: Shard = WHOLE,
    **evaluation: Any,
) -> list[Sweep]:
    """:func:`cimsim.analysis.sweeps.sweep.sweep` of runs, with the fields of an evaluation."""
    subjects = [RunSubject(run) for run in runs]
    return sweeps.sweep(subjects, axis, Evaluation(chips, **evaluation), layers=layers, shard=shard)


def trial(basis: str, level: Level, chip: int, accuracy: float, loss: float) -> Trial:
    """A trial of a classifier."""
    return Trial(basis, level, chip, {"accuracy": accuracy, "loss": loss})


def scores(swept: Sweep) -> dict[tuple[Level, int], tuple[float, ...]]:
    """The scores of every trial by level and chip."""
    return {(t.level, t.chip): tuple(t.scores.values()) for t in swept.trials}


def report(runs: Sequence[Run], title: str = "", parts: Sequence[Part] | None = None) -> str:
    """The report on runs, or one with these parts."""
    subjects = [RunSubject(run) for run in runs]
    if parts is None:
        return run_report.report_text(subjects, title)
    return page.report(subjects, title, parts)


def commands_of(run: Run) -> Iterator[str]:
    """The commands that made a run and its results."""
    return run_commands.commands_of(RunSubject(run))
