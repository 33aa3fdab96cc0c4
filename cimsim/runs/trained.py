"""The section on training: settings, curves, results."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from cimsim.analysis.figures.training import Training, draw_training, has_rmse, line_of, panels
from cimsim.analysis.headline import CHIP, TRAINED, Headline, brief
from cimsim.analysis.report.blocks import (
    Block,
    Folded,
    Part,
    Picture,
    ReportRun,
    Section,
    Table,
)
from cimsim.analysis.report.drawing import fitted
from cimsim.analysis.report.per_run import cannot_be_shown
from cimsim.analysis.table import table_csv
from cimsim.errors import CimsimError
from cimsim.runs.subject import RunSubject, finished, metric_of, run_of
from cimsim.training.records import read_metrics


def section(runs: Sequence[ReportRun]) -> Section | None:
    """Show results, loss and accuracy over epochs, and every setting."""
    if not (runs := finished(runs)):
        return None
    trainings: list[Training] = []
    groups: dict[str, list[Training]] = {}
    errors: list[Block] = []
    for run in runs:
        try:
            training = Training(run.name, run.number, read_metrics(run.folder))
        except CimsimError as error:
            training = Training(run.name, run.number, ())
            errors.append(cannot_be_shown(error))
        trainings.append(training)
        if training.epochs:
            groups.setdefault(run_of(run.subject).config.data, []).append(training)
    blocks: list[Block] = [_results(runs, trainings), *errors]
    blocks += [_curves(data, alike) for data, alike in groups.items()]
    every = [training for alike in groups.values() for training in alike]
    if every:
        blocks.append(Folded("Every epoch in numbers", (_epochs(every),)))
    blocks.append(Folded("Every setting", (_settings(runs),)))
    return Section(tuple(blocks))


def _curves(data: str, trainings: Sequence[Training]) -> Picture:
    measure = "RMSE" if has_rmse(trainings) else "accuracy"
    texts = {
        line_of(training, key): [
            f"{training.name}, epoch {row['epoch']}\n{label}: {factor * row[key]:.4g}"
            for row in training.epochs
        ]
        for training in trainings
        for key, label, factor in panels(trainings)
    }
    return Picture(
        fitted(draw_training(trainings)), f"Training loss and {measure} over epochs, {data}", texts
    )


def _results(runs: Sequence[ReportRun], trainings: Sequence[Training]) -> Table:
    headings = ("run", "data", "model", "profile", "training", "epochs")
    scored = ("metric", "digital", "on one chip", "time (min)")
    rows = []
    for report_run, training in zip(runs, trainings, strict=True):
        run = run_of(report_run.subject)
        config = run.config
        metric = metric_of(run)
        scores = [metric.format(metric.of(run.scores(where))) for where in ("digital", "chip")]
        method = f"{config.method} (recipe {config.recipe})" if config.recipe else config.method
        minutes = sum(row.get("seconds", math.nan) for row in training.epochs) / 60
        facts = (report_run.name, config.data, config.model, run.profile.name, method)
        numbers = (str(config.epochs), metric.heading, *scores, f"{minutes:.1f}")
        rows.append((*facts, *numbers))
    caption = "Test scores of the digital models, and on one chip just after programming"
    return Table(caption, (*headings, *scored), tuple(rows), (5, 7, 8, 9), "runs.csv")


def _epochs(trainings: Sequence[Training]) -> Table:
    keys = list(dict.fromkeys(key for t in trainings for row in t.epochs for key in row))
    rows = [[t.name, *(row.get(key) for key in keys)] for t in trainings for row in t.epochs]
    headings = ("run", *keys)
    texts = tuple(tuple(_short(value) for value in row) for row in rows)
    csv = table_csv([headings, *rows])
    right = range(1, len(headings))
    return Table("Metrics of every epoch", headings, texts, right, "epochs.csv", csv)


def _short(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _settings(runs: Sequence[ReportRun]) -> Table:
    configs = [run_of(run.subject).config.model_dump(mode="json") for run in runs]
    rows = tuple((key, *(_setting(config[key]) for config in configs)) for key in configs[0])
    headings = ("setting", *(run.name for run in runs))
    return Table("Settings of every run", headings, rows, (), "settings.csv")


def _setting(value: object) -> str:
    if value is None or value == []:
        return "-"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def headlines(run: ReportRun) -> Iterator[Headline]:
    """How a run was trained, and its result on the first chip."""
    if not isinstance(run.subject, RunSubject):
        return
    of = run.subject.run
    config, metric = of.config, metric_of(of)
    recipe = f", recipe {config.recipe}" if config.recipe else ""
    epochs = "1 epoch" if config.epochs == 1 else f"{config.epochs} epochs"
    yield Headline(
        TRAINED, f"Network {config.model}, trained for {epochs} ({config.method}{recipe})."
    )
    digital, chip = (brief(metric, metric.of(of.scores(x))) for x in ("digital", "chip"))
    verb, name = "has" if metric.falls else "reaches", metric.title.lower()
    yield Headline(
        CHIP,
        f"On a just-programmed chip it {verb} {chip} {name} (digital {digital}; 1 chip).",
        chip,
        f"{name} on a new chip",
    )


PART = Part("trained", "What was trained", section, headlines=headlines, detail=True)
