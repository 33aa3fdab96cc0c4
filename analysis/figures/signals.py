"""The signal-to-noise ratio of each layer on a chip."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes

from cimsim.analysis.figures.canvas import (
    Layout,
    Panels,
    annotate,
    name_rows,
    row_places,
    style,
)
from cimsim.analysis.figures.theme import color


def layout_of(layers: int) -> Layout:
    """Layout of a figure of that many layers."""
    return Layout(6.4, 1.0 + 0.34 * layers)


def draw(panels: Panels, names: Sequence[str], ratios_dB: Sequence[float]) -> None:
    """Draw a bar with its number for each layer, the first at the top."""
    (axes,) = panels.axes
    draw_bars(axes, ratios_dB)
    name_rows(axes, row_places(len(names)), names)


def draw_bars(axes: Axes, ratios_dB: Sequence[float]) -> None:
    """Draw the bars and their numbers in dB on ``axes``, from the top; a layer without any error
    has no bar."""
    for place, ratio in zip(row_places(len(ratios_dB)), ratios_dB, strict=True):
        end = ratio if math.isfinite(ratio) else 0.0
        axes.barh(place, end, height=0.6, color=color(2))
        text = f"{ratio:.1f}" if math.isfinite(ratio) else "no error"
        annotate(axes, text, max(end, 0.0), place)
    axes.set_xlabel("Signal-to-noise ratio of the output (dB)")
    axes.margins(x=0.16)
    style(axes, "x")
