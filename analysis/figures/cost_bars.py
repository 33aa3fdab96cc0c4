"""Energy of an inference: a bar for each layer, stacked from the parts of a chip."""

from __future__ import annotations

from typing import Any

from matplotlib.patches import Patch

from cimsim.analysis.cost.parts import PARTS
from cimsim.analysis.cost.result import Cost
from cimsim.analysis.figures.canvas import (
    Layout,
    Panels,
    annotate,
    name_points,
    name_rows,
    row_places,
    style,
)
from cimsim.analysis.figures.theme import color, paper, quiet
from cimsim.analysis.labels import layer_name
from cimsim.quantities import quantity, scale_of

_LONGEST_NAME = 32
_LABELS = {"dac": "DAC", "adc": "ADC"}
_GENERIC = "hatched: generic prices"
_HATCH = "/////"


def layout_of(cost: Cost) -> Layout:
    """Layout of the figure."""
    return Layout(8.0, 2.5 + 0.36 * len(cost.layers))


def draw_bars(panels: Panels, cost: Cost) -> None:
    """Draw the energy of each layer, stacked from its parts, whose centers are named (``gid``)
    after the part.

    The energy that follows from generic prices is hatched. Layers are in the order of the
    inference, with their share of the total next to the bars.
    """
    rows = len(cost.layers)
    scale = scale_of([1e-12 * max(layer.energy_pJ.total for layer in cost.layers)], "J")
    unit_pJ = 1e12 * scale.size
    (axes,) = panels.axes
    places, left = row_places(rows), [0.0] * rows
    whole = cost.energy_pJ.total
    for index, part in enumerate(PARTS):
        if not getattr(cost.energy_pJ, part):
            continue
        widths = [getattr(layer.energy_pJ, part) / unit_pJ for layer in cost.layers]
        generic = [
            0.0 if layer.generic_pJ is None else getattr(layer.generic_pJ, part) / unit_pJ
            for layer in cost.layers
        ]
        centers = [x + width / 2 for x, width in zip(left, widths, strict=True)]
        name_points(axes, centers, places, part)
        known = [width - other for width, other in zip(widths, generic, strict=True)]
        look: dict[str, Any] = {"height": 0.72, "edgecolor": paper(), "linewidth": 0.7}
        axes.barh(
            places, known, left=left, color=color(index), label=_LABELS.get(part, part), **look
        )
        left = [x + width for x, width in zip(left, known, strict=True)]
        axes.barh(places, generic, left=left, color=color(index), hatch=_HATCH, **look)
        left = [x + width for x, width in zip(left, generic, strict=True)]
    for place, layer, total in zip(places, cost.layers, left, strict=True):
        annotate(axes, f"{100 * layer.energy_pJ.total / whole:.3g} %", total, place)
    axes.set_xlim(0, 1.12 * max(left))
    name_rows(axes, places, [_short_name(layer.name) for layer in cost.layers])
    axes.set_xlabel(scale.heading("Energy per inference"))
    style(axes, "x")
    handles, labels = axes.get_legend_handles_labels()
    if cost.generic_pJ is not None and cost.generic_pJ.total:
        handles.append(Patch(facecolor=quiet(), edgecolor=paper(), hatch=_HATCH, linewidth=0))
        labels.append(_GENERIC)
    panels.legend(columns=4, handles=handles, labels=labels)
    panels.title(_title(cost))


def _title(cost: Cost) -> str:
    energy, time = 1e-12 * cost.energy_pJ.total, 1e-9 * cost.latency_ns
    return (
        f"{cost.profile}: {quantity(energy, 'J')} and {quantity(time, 's')} per inference, "
        f"{quantity(1e12 * cost.tops_per_W, 'OPS/W')}\n{cost.rests_on}"
    ).rstrip()


def _short_name(name: str) -> str:
    name = layer_name(name)
    return name if len(name) <= _LONGEST_NAME else f"…{name[1 - _LONGEST_NAME :]}"
