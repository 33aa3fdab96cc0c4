"""What became of every layer, and what it takes of the chip."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cimsim.analysis.report.blocks import (
    Block,
    Heading,
    Part,
    Section,
    Shown,
    Table,
    Words,
    file_name,
)
from cimsim.analysis.table import table_csv
from cimsim.array.occupancy import Occupancy
from cimsim.errors import CimsimError
from cimsim.nn.summary import Summary, summary


def section(runs: Sequence[Shown]) -> Section | None:
    """Each different table once, with the runs that it is of."""
    found: dict[Summary, list[str]] = {}
    blocks: list[Block] = []
    for shown in runs:
        try:
            found.setdefault(summary(shown.run.new_model()), []).append(shown.name)
        except CimsimError as error:  # costs one run, and not those beside it
            blocks.append(Words(f"This cannot be shown: {error}", remark=True))
    for layers, names in found.items():
        blocks += _layers(layers, names)
    return Section(tuple(blocks))


def _layers(layers: Summary, names: Sequence[str]) -> Iterator[Block]:
    yield Heading(", ".join(names))
    headings, *rows = layers.rows()
    caption = "Tiles and cells of every layer, or why it is digital"
    numbers = [
        (layer.name, layer.kind, layer.parameters, *_taken(layer.occupancy), layer.where)
        for layer in layers.layers
    ]
    file = file_name(f"layers-{names[0]}.csv")
    csv = table_csv([headings, *numbers])
    yield Table(caption, headings, tuple(rows), layers.RIGHT, file, csv)


def _taken(occupancy: Occupancy | None) -> tuple[float | None, ...]:
    if occupancy is None:
        return (None, None, None)
    return (occupancy.tiles, occupancy.utilization, occupancy.used_cells)


PART = Part("layers", "Layers", section)
