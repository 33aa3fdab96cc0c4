"""A study that is one file and one registration gets a command, a function in Python, files, a
table, a figure and a section of the report."""

from __future__ import annotations

import inspect
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer
from typer.testing import CliRunner

from cimsim.analysis import figures
from cimsim.analysis.functions import functions_of
from cimsim.analysis.studies import STUDIES
from cimsim.analysis.study import (
    Column,
    Facts,
    Options,
    Sheet,
    Study,
    StudyResult,
    facts_of,
    option,
)
from cimsim.analysis.subjects import ModelSubject
from cimsim.analysis.sweeps.axis import Axis
from cimsim.analysis.sweeps.stats import Summary, means, summary
from cimsim.cli.studies import study_command
from cimsim.errors import CimsimError
from cimsim.runs import open_run
from cimsim.runs.commands import commands_of
from cimsim.runs.report import report_text as report
from cimsim.sealing import unsealed

if TYPE_CHECKING:
    from cimsim.analysis.evaluation import Evaluation
    from cimsim.analysis.figures.canvas import Layout, Panels
    from cimsim.analysis.subjects import Subject

NAME = "cold"


class ColdOptions(Options):
    """Evaluate a run at a noise.

    Nothing else happens.
    """

    factors: tuple[str, ...] = option(..., "Factors on the noise; can be repeated.")
    shout: bool = option(False, "Print the answer in capitals.")


@dataclass(frozen=True)
class Cold(StudyResult):
    """The metric at some factors on the noise."""

    facts: Facts
    factors: tuple[str, ...]
    shout: bool
    points: tuple[Summary, ...]

    stem = "cold/cold"

    def rows(self) -> Iterator[Sequence[object]]:
        yield ["factor", "mean"]
        yield from ([point.level, point.mean] for point in self.points)

    def sheet(self) -> Sheet:
        metric = self.facts.measured
        factors = tuple(str(point.level) for point in self.points)
        return Sheet(
            self.facts.caption, (Column("factor", factors), means("mean", self.points, metric))
        )

    @property
    def answer(self) -> str:
        text = f"{len(self.points)} factors were evaluated."
        return text.upper() if self.shout else text

    def options(self) -> ColdOptions:
        return ColdOptions(factors=self.factors, shout=self.shout)

    def hover(self) -> dict[str, list[str]]:
        return {NAME: [f"factor {point.level}" for point in self.points]}

    @property
    def layout(self) -> Layout:
        return figures.canvas.Layout(4.0, 3.0)

    def draw(self, panels: Panels) -> None:
        (axes,) = panels.axes
        axes.plot([float(x) for x in self.factors], [p.mean for p in self.points], gid=NAME)
        figures.canvas.style(axes)


def _run(subjects: Sequence[Subject], evaluation: Evaluation, options: ColdOptions) -> Cold:
    levels = tuple(map(float, options.factors))
    sweep = evaluation.sweep(subjects[0], Axis("noise", levels))
    points = tuple(summary(level, values) for level, values in sweep.values().items())
    return Cold(facts_of(sweep.plan), options.factors, options.shout, points)


STUDY = Study(
    NAME,
    Cold,
    "Cold chips",
    "Metric of cold chips",
    "--factors 0",
    options=ColdOptions,
    run=_run,
    defaults={"chips": 2},
)


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    """A command line on which the study is registered, beside one other."""
    monkeypatch.setattr("cimsim.analysis.report.sections.STUDIES", [*STUDIES, STUDY])
    monkeypatch.setattr("cimsim.analysis.report.commands.STUDIES", [*STUDIES, STUDY])
    made = typer.Typer()
    for study in (STUDY, STUDIES[0]):
        made.command(study.command)(study_command(study))
    return made


def call(app: typer.Typer, *words: Any) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_it_gets_everything(app: typer.Typer, trained: Path, tmp_path: Path) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    missing = report([open_run(run)])
    assert f"cimsim cold {run} --factors 0" in missing
    out = call(app, "cold", run, "--factors", "0", "--factors", "2", "--shout", "--age", "1h")
    assert "2 FACTORS WERE EVALUATED." in out
    assert "Test accuracy in %, 2 chips, 1 h after programming" in " ".join(out.split())
    name = "cold_age=1h_factors=0,2_shout"
    for suffix in ("json", "csv", "png", "svg"):
        assert str(run / "cold" / f"{name}.{suffix}") in out.replace("\n", "")
        assert (run / "cold" / f"{name}.{suffix}").stat().st_size > 10
    found = STUDY.read(run)
    assert unsealed(json.loads((run / "cold" / f"{name}.json").read_text()))["shout"] is True
    *_, command = commands_of(open_run(run))
    assert command == (f"cimsim cold {run} --factors 0 --factors 2 --shout --chips 2 --age 1h")
    page = report([open_run(run)])
    for text in ("Cold chips", "2 FACTORS WERE EVALUATED.", "Metric of cold chips", "factor 2.0"):
        assert text in page
    assert 'data-file="cold-age-1h-factors-0-2-shout-run.csv"' in page
    assert command in page
    assert call(app, *command.split()[1:], "--json").count('"mean"') == len(found.points)


def test_its_command_has_its_own_options_and_the_shared_ones(app: typer.Typer) -> None:
    text = " ".join(call(app, "cold", "--help").split())
    for words in (
        "Evaluate a run at a noise.", "--factors", "--shout", "--chips", "--age", "--noise",
        "--profile", "--samples", "--workers", "--engine", "--metric", "--trust", "--out", "--json",
    ):  # fmt: skip
        assert words in text
    assert "--on" not in text.split()


def test_it_gets_a_function_in_python(trained: Path) -> None:
    cold = functions_of([*STUDIES, STUDY])[NAME]
    parameters = inspect.signature(cold).parameters
    assert parameters["factors"].default is inspect.Parameter.empty
    assert (parameters["shout"].annotation, parameters["chips"].default) == ("bool", 2)
    assert inspect.signature(cold).return_annotation == "Cold"
    assert "Evaluate a model at a noise." in cold.__doc__
    assert "    factors: Factors on the noise, or a list of them." in cold.__doc__
    subject = open_run(trained)
    model = ModelSubject(subject.model(), lambda on_chip: subject.score(on_chip), name="mine")
    result = cold(model, factors=["0", "2"], shout=True, metric="accuracy")
    assert isinstance(result, Cold)
    assert (result.facts.chips, result.answer) == (2, "2 FACTORS WERE EVALUATED.")
    means = [row[list(next(result.rows())).index("mean")] for row in result.rows()]
    assert means[2] == result.points[1].mean
    assert repr(result).startswith("<Cold: mine on pcm-ibm-2020, Test accuracy in %, 2 chips")
    assert cold(model, factors="0").factors == ("0",)
    with pytest.raises(CimsimError, match="shout: input should be a valid boolean"):
        cold(model, factors="0", shout="loud")
