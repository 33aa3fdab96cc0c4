"""Energy by layer and by part, in one figure."""

from __future__ import annotations

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from cimsim.analysis.cost.cost import PARTS, Cost
from cimsim.analysis.names import layer_name
from cimsim.analysis.plot import COLORS, name_points

_SCALES = ((1e12, "J"), (1e9, "mJ"), (1e6, "µJ"), (1e3, "nJ"), (1.0, "pJ"))
_LONGEST_NAME = 32
_NAMES = {"array": "array", "dac": "DAC", "adc": "ADC"}


def draw_cost(cost: Cost) -> Figure:
    """The energy of one inference: a bar for each layer, stacked from its parts, whose middles have
    the part's name (``gid``).

    Layers stand in the order of the inference, with their share of the whole beside the bars.
    """
    rows = len(cost.layers)
    energies = np.array(
        [[getattr(layer.energy_pJ, part) for part in PARTS] for layer in cost.layers]
    )
    unit_pJ, unit = next(
        ((size, name) for size, name in _SCALES if energies.sum() >= size), _SCALES[-1]
    )
    energies = energies / unit_pJ
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08)
    figure = Figure(figsize=(8.0, 2.3 + 0.36 * rows), layout=layout)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    places = np.arange(rows)[::-1]
    left = np.zeros(rows)
    for index, part in enumerate(PARTS):
        axes.barh(
            places,
            energies[:, index],
            left=left,
            height=0.72,
            color=COLORS[index],
            label=_NAMES.get(part, part),
        )
        middles = (left + energies[:, index] / 2).tolist()
        name_points(axes, middles, places.tolist(), part)
        left += energies[:, index]
    for place, total in zip(places, left, strict=True):
        axes.annotate(
            f"{100 * total / left.sum():.3g} %",
            (total, place),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=10,
        )
    axes.set_xlim(0, 1.12 * left.max())
    axes.set_yticks(places, [_shortened(layer_name(layer.name)) for layer in cost.layers])
    axes.set_ylim(-0.6, rows - 0.4)
    axes.set_xlabel(f"Energy per inference ({unit})", fontsize=12)
    axes.tick_params(labelsize=11)
    axes.grid(axis="x", alpha=0.25, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(
        *axes.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=len(PARTS),
        frameon=False,
        fontsize=11,
    )
    figure.suptitle(
        f"{cost.profile}: {left.sum():.3g} {unit} and {cost.latency_ns * 1e-3:.3g} µs per "
        f"inference, {cost.tops_per_W:.3g} TOPS/W",
        fontsize=12,
    )
    return figure


def _shortened(name: str) -> str:
    name = name or "(the model)"
    return name if len(name) <= _LONGEST_NAME else f"…{name[1 - _LONGEST_NAME :]}"
