"""The commands of studies, made from their descriptors."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from cimsim.analysis.figures.look import USUAL, Look
from cimsim.analysis.study import Result, Study
from cimsim.cli import console
from cimsim.cli.evaluation import (
    RESUME,
    AsJson,
    EvaluationOptions,
    RunFolder,
    RunFolders,
    Wide,
    evaluation,
)
from cimsim.cli.figures import look_from, look_parameters
from cimsim.cli.options import configured, parameters_of, with_parameters

_Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="FILE",
        help="Another file for the figure: .png and .svg, or .pdf.",
        show_default="in the run's folder",
    ),
]


def study_command(study: Study[Any]) -> Callable[..., None]:
    """The command of a study: its run, its own options, and those that all studies share."""

    def command(**given: Any) -> None:
        with console.resumable(RESUME):
            from cimsim.analysis.studies.designs import subject_names

            options = configured(study.options, given)
            options.refuse_without_effect()
            shared = configured(EvaluationOptions, _shared(given, study), **study.defaults)
            look_from({**given, "labels": None}, given["out"])
            subjects = shared.subjects(given["run"] if study.several else [given["run"]])
            look = look_from(given, given["out"], subject_names(subjects))
            assert study.run is not None
            with evaluation(study.command, shared, subjects) as chosen:
                result = study.run(subjects, chosen, options)
            folder = subjects[0].folder
            assert folder is not None
            present(folder, result, given["as_json"], given["wide"], given["out"], look)

    own, defaults = tuple(study.options.model_fields), study.defaults
    argument = inspect.Parameter(
        "run",
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        annotation=RunFolders if study.several else RunFolder,
    )
    paragraphs = (inspect.getdoc(study.options) or "").split("\n\n")
    command.__doc__ = "\n\n".join(" ".join(text.split()) for text in paragraphs)
    parameters = [
        argument,
        *parameters_of(study.options, required=True),
        *parameters_of(EvaluationOptions, without=own, defaults=defaults),
        _keyword("out", _Out, None),
        *look_parameters(),
        _keyword("as_json", AsJson, False),
        _keyword("wide", Wide, False),
    ]
    return with_parameters(command, parameters)


def _keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)


def _shared(given: dict[str, Any], study: Study[Any]) -> dict[str, Any]:
    """The shared options, without those that the study defines itself."""
    own = study.options.model_fields
    return {name: value for name, value in given.items() if name.removeprefix("old_") not in own}


def present(
    folder: Path,
    result: Result,
    as_json: bool,
    wide: bool,
    also: Path | None = None,
    look: Look = USUAL,
) -> None:
    """Write a result to the run's ``folder``, and print it: as JSON, or as tables, an answer in
    words and the names of its files. The figure has ``look``, and is ``also`` written to another
    file."""
    from cimsim.analysis.figures.canvas import save
    from cimsim.analysis.shown import write_result

    files = write_result(folder, result, look)
    if also is not None:
        files += save(result.drawn(look), also, look)
    show(result, as_json, wide)
    for path in () if as_json else files:
        console.say(str(path))


def show(result: Result, as_json: bool, wide: bool) -> None:
    """Print a result; all columns of its tables if ``wide``."""
    from cimsim.analysis.shown import as_json as json_text

    for text in result.warnings:
        console.remark(text)
    if as_json:
        console.say(json_text(result))
        return
    for sheet in (result.sheet(), *result.more_sheets()):
        console.show_sheet(sheet, wide)
    if result.answer:
        console.state(result.answer)
    for caption, text in result.listings().items():
        console.say(caption)
        for line in text.splitlines():
            console.say(f"  {line}")
