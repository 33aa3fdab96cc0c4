"""A map in a picture: a cell for every pair of levels, its number, and lines of equal metric.

Every level gets a column (row) of the same width, whatever its number: so the numbers can be read.
Between the middles of neighboring cells both axes are linear (logarithmic in time), and so lines
stand where the interpolated metric has their value. Between words there is no in-between: there a
line goes straight through a word's cells, or along their edges.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, TypeAlias

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patheffects import Normal, Stroke

from cimsim.analysis.heat_map import Map, positions_of_crossings
from cimsim.analysis.levels import Axis
from cimsim.analysis.plot import name_points
from cimsim.analysis.scale import scale_of

_Style: TypeAlias = Literal["-", "--", ":", "-."]
_STYLES: tuple[_Style, ...] = ("-", "--", ":", "-.")
_DECADE = 10.0
_FEWEST = 5  # columns, whose width the picture has at least
_CELL_CHARACTERS = 8
CELLS = "cells"
"""The name (``gid``) of the middles of the cells, row by row from below."""
_HALO = [Stroke(linewidth=4.2, foreground="white"), Normal()]


def draw_map(found: Map) -> Figure:
    """The mean of each cell in color (bright is good, told apart with any color vision) and as a
    number; lines of equal metric; what the digital model reaches."""
    metric = found.facts.measured
    values = metric.factor * np.array(found.means)
    columns, rows = len(found.x_levels), len(found.y_levels)
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08)
    size = (min(20.0, 2.6 + 0.78 * max(columns, _FEWEST)), min(16.0, 2.2 + 0.5 * max(rows, 3)))
    figure = Figure(figsize=size, layout=layout)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    colors = matplotlib.colormaps["cividis_r" if metric.falls else "cividis"].with_extremes(
        bad="#BBBBBB"
    )
    norm = _norm(values, metric.falls)
    shown = np.ma.masked_invalid(values)
    mesh = axes.pcolormesh(
        np.arange(columns + 1) - 0.5, np.arange(rows + 1) - 0.5, shown, cmap=colors, norm=norm
    )
    _write_numbers(axes, values, colors, norm)
    _dress(axes, found)
    ys, xs = np.indices(values.shape).reshape(2, -1).tolist()
    name_points(axes, xs, ys, CELLS)
    figure.colorbar(mesh, ax=axes, label=metric.label, pad=0.02)
    _draw_lines(axes, found)
    unit = f" {metric.unit}" if metric.unit else ""
    handles = [
        Line2D([], [], color="black", linewidth=1.8, linestyle=_style(i), label=label)
        for i, line in enumerate(found.lines)
        if found.crosses(line.value) and (label := f"{metric.factor * line.value:.4g}{unit}")
    ]
    if handles:
        figure.legend(
            handles=handles, loc="outside lower center", ncols=min(4, len(handles)), frameon=False
        )
    axes.set_title(
        f"{found.facts.where}{found.facts.aged}\n"
        f"mean of {found.facts.counted}; digital {metric.shown(found.facts.digital)}{unit}",
        fontsize=11,
        loc="left",
    )
    return figure


def _style(index: int) -> _Style:
    return _STYLES[index % len(_STYLES)]


def _norm(values: np.ndarray, falls: bool) -> Normalize:
    there = values[np.isfinite(values)]
    low, high = (there.min(), there.max()) if there.size else (0.0, 1.0)
    if falls and low > 0 and high > _DECADE * low:
        return LogNorm(low, high)
    return Normalize(low, high if high > low else low + 1.0)


def _write_numbers(axes: Axes, values: np.ndarray, colors: Colormap, norm: Normalize) -> None:
    for (row, column), value in np.ndenumerate(values):
        finite = math.isfinite(value)
        red, green, blue, _ = colors(norm(value)) if finite else (0.7, 0.7, 0.7, 1.0)
        dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
        axes.text(
            column,
            row,
            _number(value),
            ha="center",
            va="center",
            color="white" if dark else "black",
            fontsize=10,
            zorder=4,
            path_effects=[Stroke(linewidth=3.5, foreground=(red, green, blue)), Normal()],
        )


def _number(value: float) -> str:
    """Three or four figures, which a cell has room for."""
    if not math.isfinite(value) or abs(value) < 1000:
        return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
    return f"{value:.1e}"


def _dress(axes: Axes, found: Map) -> None:
    for key, levels, set_ticks, set_label in (
        (found.x, found.x_levels, axes.set_xticks, axes.set_xlabel),
        (found.y, found.y_levels, axes.set_yticks, axes.set_ylabel),
    ):
        axis = Axis(key, levels)
        set_ticks(range(len(levels)), [axis.format(level) for level in levels])
        set_label(axis.title, fontsize=12)
    longest = max(len(Axis(found.x, ()).format(level)) for level in found.x_levels)
    if longest > _CELL_CHARACTERS * max(1.0, _FEWEST / len(found.x_levels)):
        for label in axes.get_xticklabels():
            label.set(rotation=30, ha="right", rotation_mode="anchor")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _draw_lines(axes: Axes, found: Map) -> None:
    means = np.array(found.means)
    words_x, words_y = (
        not scale_of(Axis(key, levels), levels).joined
        for key, levels in ((found.x, found.x_levels), (found.y, found.y_levels))
    )
    for index, line in enumerate(found.lines):
        if words_x or words_y:
            for xs, ys in _pieces(means, line.value, words_x, words_y):
                _stroke(axes, xs, ys, index)
        elif found.crosses(line.value):
            contours = axes.contour(
                np.ma.masked_invalid(means),
                levels=[line.value],
                colors="black",
                linewidths=1.8,
                linestyles=[_style(index)],
                zorder=3,
            )
            contours.set_path_effects(_HALO)


def _stroke(axes: Axes, xs: Sequence[float], ys: Sequence[float], index: int) -> None:
    axes.plot(
        *(xs, ys),
        color="black",
        linewidth=1.8,
        linestyle=_style(index),
        path_effects=_HALO,
        zorder=3,
        solid_capstyle="butt",
    )


def _pieces(
    means: np.ndarray, value: float, words_x: bool, words_y: bool
) -> list[tuple[Sequence[float], Sequence[float]]]:
    """Straight pieces of a line where one axis, or both, are words."""
    pieces: list[tuple[Sequence[float], Sequence[float]]] = []
    if not words_x:
        for row, values in enumerate(means.tolist()):
            for x in positions_of_crossings(values, value):
                pieces.append(((x, x), (row - 0.5, row + 0.5)))
    elif not words_y:
        turned = _pieces(means.T, value, words_y, words_x)
        pieces = [(ys, xs) for xs, ys in turned]
    else:
        above = means >= value
        for row, column in zip(*np.nonzero(above[:, 1:] != above[:, :-1]), strict=True):
            pieces.append(((column + 0.5, column + 0.5), (row - 0.5, row + 0.5)))
        for row, column in zip(*np.nonzero(above[1:] != above[:-1]), strict=True):
            pieces.append(((column - 0.5, column + 0.5), (row + 0.5, row + 0.5)))
    return pieces
