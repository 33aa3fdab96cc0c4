"""``cimsim methods``: the parts of a training and of an adaptation, with equations and sources."""

from __future__ import annotations

import inspect
import re
from typing import Annotated, cast

import typer

from cimsim.analysis.sheet import Column, Sheet, columns_of
from cimsim.cli import console
from cimsim.cli.tables import Look
from cimsim.errors import CimsimError
from cimsim.suggest import unknown


def methods(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="Name of one of them; prints its equation, settings and source.",
        ),
    ] = None,
) -> None:
    """List methods, rules, quantizers, objectives, correctors, optimizers, recipes, adaptations."""
    parts = _parts()
    if name is None:
        for kind, flag in _FLAGS.items():
            rows = [(part, _first_line(what)) for (of, part), what in parts.items() if of == kind]
            columns = (Column("name", (), kind="name"), Column("description", (), kind="text"))
            sheet = Sheet(f"{kind} ({flag})", columns_of(columns, rows))
            console.show_sheet(sheet, look=Look(headings=False))
        console.say("cimsim methods NAME prints equation, settings and source.")
        return
    matching = [(key, what) for key, what in parts.items() if name in key[1].split(", ")]
    if not matching:
        raise CimsimError(unknown("method", name, [part for _, part in parts]))
    for (kind, part), what in matching:
        console.say(f"{kind} {part} ({_FLAGS[kind]})\n")
        console.page(_description(what) + "\n")


_FLAGS = {
    "method": "--method",
    "backward rule": "--rule",
    "quantizer": "--quantize-weights, --quantize-inputs",
    "objective": "--objective, several times",
    "corrector": "--corrector",
    "optimizer": "--optimizer",
    "recipe": "--recipe",
    "adaptation": "cimsim adapt --parts",
}


def _parts() -> dict[tuple[str, str], object]:
    from cimsim.adaptation import PARTS
    from cimsim.estimators.rules import RULES
    from cimsim.quantizers import QUANTIZERS
    from cimsim.training.correctors import CORRECTORS
    from cimsim.training.methods import METHODS
    from cimsim.training.objectives import OBJECTIVES
    from cimsim.training.optimizers import OPTIMIZERS
    from cimsim.training.recipes import RECIPES

    families: dict[str, dict[str, object]] = {
        "method": dict(METHODS),
        "backward rule": {f"{rule.letter}, {rule.name}": type(rule) for rule in RULES.values()},
        "quantizer": dict(QUANTIZERS.parts),
        "objective": dict(OBJECTIVES.parts),
        "corrector": dict(CORRECTORS.parts),
        "optimizer": dict(OPTIMIZERS.parts),
        "recipe": dict(RECIPES),
        "adaptation": dict(PARTS.parts),
    }
    return {
        (kind, name): part for kind, family in families.items() for name, part in family.items()
    }


def _first_line(part: object) -> str:
    if isinstance(part, dict):
        return _flags(part)
    return _documentation(part).splitlines()[0]


def _description(part: object) -> str:
    if isinstance(part, dict):
        return _flags(part)
    text = _documentation(part)
    from cimsim.spec import Named, settings_of

    if not inspect.isclass(part) or not hasattr(part, "name") or hasattr(part, "noisy"):
        return text

    settings = settings_of(cast("type[Named]", part))
    if not settings:
        return text
    lines = [f"  {name}={_written(setting.default)}" for name, setting in settings.items()]
    return "\n".join([text, "", "Settings:", *lines])


def _documentation(part: object) -> str:
    """The docstring of ``part`` without reStructuredText and examples, for a terminal: a line for
    each paragraph, and for each line of an equation."""
    paragraphs = (inspect.getdoc(part) or "").split("\n\n")
    kept = (each for each in paragraphs if not each.startswith(">>>"))
    text = "\n\n".join(re.sub(r"\n(?![ *-])", " ", each) for each in kept)
    return re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"\1", text).replace("``", "`")


def _flags(settings: dict[str, object]) -> str:
    """Format a recipe as options of ``cimsim train``."""
    flags = []
    for key, value in settings.items():
        for one in value if isinstance(value, tuple) else (value,):
            flags.append(f"--{key.replace('_', '-')} {_written(one)}")
    return " ".join(flags)


def _written(value: object) -> str:
    if isinstance(value, tuple):
        return "/".join(map(str, value))
    return (
        f"{value:g}"
        if isinstance(value, float)
        else str(value).lower()
        if isinstance(value, bool)
        else str(value)
    )
