"""``cimsim models``: the trained networks that are shipped with cimsim."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cimsim.analysis.sheet import Column, Sheet
from cimsim.cli import console
from cimsim.cli.evaluation import Wide
from cimsim.cli.tables import LIST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cimsim.models.cards import Card


def models(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Name of one of them; prints its card."),
    ] = None,
    wide: Wide = False,
) -> None:
    """List the trained networks that are shipped with cimsim."""
    from cimsim.models import card, names

    if name is not None:
        console.say(_described(card(name)))
        return
    console.show_sheet(_sheet([card(each) for each in names()]), wide, LIST)
    console.say("cimsim models NAME prints how it was trained.")


def _described(card: Card) -> str:
    shape = " x ".join(map(str, card.input_shape))
    lines = [
        f"{card.name}: {card.model} for {card.data}, inputs {shape}, {card.classes} classes, "
        f"{card.parameters:,} parameters",
        "",
        f"digital: test accuracy {_percent(card.digital)}",
        *(
            f"{_age(score.age_s)}, {score.chips} chips of {card.profile}: {_percent(score.mean)} "
            f"± {100 * score.standard_error:.2f} (worst {_percent(score.worst)})"
            for score in card.on_chips
        ),
        "",
        f"trained on {card.trained} with {card.command}",
        "with " + ", ".join(f"{package} {version}" for package, version in card.versions.items()),
        f"license of the data: {card.license}",
        "",
        f'in Python: cimsim.models.load("{card.name}")',
        f"fine-tuning: cimsim train --start {card.name} --data {card.data} --model {card.model} "
        f"--profile {card.profile} --out DIR",
    ]
    return "\n".join(lines)


def _sheet(cards: Sequence[Card]) -> Sheet:
    """One row for each network, one column for each age of its chips."""
    ages = sorted({score.age_s for each in cards for score in each.on_chips})
    columns = (
        Column("name", tuple(each.name for each in cards), kind="text"),
        Column("digital", tuple(f"{100 * each.digital:.2f}" for each in cards), "%"),
        *(Column(_age(age_s), tuple(_score(each, age_s) for each in cards), "%") for age_s in ages),
        Column("profile", tuple(x.profile for x in cards), kind="text", essential=False),
        Column("parameters", tuple(f"{each.parameters:,}" for each in cards), essential=False),
    )
    return Sheet("Test accuracy, digital and on chips: mean ± standard error", columns)


def _score(card: Card, age_s: float) -> str:
    scores = (score for score in card.on_chips if score.age_s == age_s)
    return ", ".join(f"{100 * s.mean:.2f} ± {100 * s.standard_error:.2f}" for s in scores)


def _age(age_s: float) -> str:
    from cimsim.units import format_duration

    return f"after {format_duration(age_s)}" if age_s else "just programmed"


def _percent(accuracy: float) -> str:
    return f"{100 * accuracy:.2f} %"
