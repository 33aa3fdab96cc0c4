"""A section about the layers: the kind of computation, and the share of the chip."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cimsim.analysis.report.blocks import (
    Block,
    Heading,
    Paragraph,
    Part,
    ReportRun,
    Section,
    Table,
    file_name,
)
from cimsim.analysis.table import table_csv
from cimsim.array.occupancy import Occupancy
from cimsim.errors import CimsimError
from cimsim.nn.summary import Summary, summary


def section(runs: Sequence[ReportRun]) -> Section | None:
    """Make each different table once, with the names of its runs."""
    tables: dict[Summary, list[str]] = {}
    blocks: list[Block] = []
    for run in runs:
        try:
            tables.setdefault(summary(run.subject.skeleton()), []).append(run.name)
        except CimsimError as error:  # the other runs are still shown
            blocks.append(Paragraph(f"This cannot be shown: {error}", remark=True))
    for layers, names in tables.items():
        blocks += _layers(layers, names)
    return Section(tuple(blocks))


def _layers(layers: Summary, names: Sequence[str]) -> Iterator[Block]:
    yield Heading(", ".join(names))
    headings, *rows = layers.rows()
    caption = "Tiles and cells of every layer, or why it is digital"
    numbers = [
        (layer.name, layer.kind, layer.parameters, *_size(layer.occupancy), layer.where)
        for layer in layers.layers
    ]
    file = file_name(f"layers-{names[0]}.csv")
    csv = table_csv([headings, *numbers])
    yield Table(caption, headings, tuple(rows), layers.RIGHT, file, csv)


def _size(occupancy: Occupancy | None) -> tuple[float | None, ...]:
    if occupancy is None:
        return (None, None, None)
    return (occupancy.tiles, occupancy.utilization, occupancy.used_cells)


PART = Part("layers", "Layers", section, detail=True)
