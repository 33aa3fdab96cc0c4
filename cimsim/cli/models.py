"""``cimsim models``: the trained networks that are shipped with cimsim."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from cimsim.cli import console

if TYPE_CHECKING:
    from cimsim.models.cards import Card


def models(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Name of one of them; prints its card."),
    ] = None,
) -> None:
    """List the trained networks that are shipped with cimsim."""
    from cimsim.models import card, names

    if name is not None:
        console.say(_described(card(name)))
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("name", "parameters", "profile", "digital", "on chips"):
        table.add_column(heading, no_wrap=True)
    for each in map(card, names()):
        cells = (each.name, f"{each.parameters:,}", each.profile, _percent(each.digital))
        table.add_row(*map(Text, (*cells, _on_chips(each))))
    console.show(table)
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


def _on_chips(card: Card) -> str:
    return ", ".join(
        f"{_percent(score.mean)} ± {100 * score.standard_error:.2f} {_age(score.age_s)}"
        for score in card.on_chips
    )


def _age(age_s: float) -> str:
    from cimsim.units import format_duration

    return f"after {format_duration(age_s)}" if age_s else "just programmed"


def _percent(accuracy: float) -> str:
    return f"{100 * accuracy:.2f} %"
