"""Heat map: a square with its number for every pair of levels, and contours of equal metric.

Every level gets a column (or row) of the same width, so that the numbers are readable. Between the
centers of neighboring squares both axes are linear (logarithmic in time), and contours are drawn
where the interpolated metric has their value. Contours are not interpolated between words: there
they go straight through a word's squares, or along their edges.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, TypeAlias

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LogNorm, Normalize
from matplotlib.lines import Line2D
from matplotlib.patheffects import Normal, Stroke

from cimsim.analysis.figures.canvas import Layout, Panels, name_points
from cimsim.analysis.figures.theme import ink
from cimsim.analysis.studies.heat_map import SQUARES, Map, positions_of_crossings
from cimsim.analysis.sweeps.axis import Axis
from cimsim.analysis.sweeps.axis_scale import scale_of
from cimsim.analysis.sweeps.metric import rounding

_Style: TypeAlias = Literal["-", "--", ":", "-."]
_STYLES: tuple[_Style, ...] = ("-", "--", ":", "-.")
_DECADE = 10.0
_FEWEST = 5  # columns, for which the figure is at least wide enough
_SQUARE_CHARACTERS = 8
_HALO = [Stroke(linewidth=4.2, foreground="white"), Normal()]


def layout_of(result: Map) -> Layout:
    """Layout of the figure: every level has a square."""
    columns, rows = len(result.x_levels), len(result.y_levels)
    width, height = 2.6 + 0.78 * max(columns, _FEWEST), 2.2 + 0.5 * max(rows, 3)
    return Layout(min(20.0, width), min(16.0, height))


def draw_map(panels: Panels, result: Map) -> None:
    """Draw the mean at each pair of levels as a color (bright is good; distinct with any color
    vision) and as a number, contours, and the digital metric in the title."""
    metric = result.facts.measured
    values = metric.factor * np.array(result.means)
    columns, rows = len(result.x_levels), len(result.y_levels)
    (axes,) = panels.axes
    colormap = matplotlib.colormaps[matplotlib.rcParams["image.cmap"]]
    if metric.falls:
        colormap = colormap.reversed()
    colors = colormap.with_extremes(bad="#BBBBBB")
    norm = _norm(values, metric.falls)
    masked = np.ma.masked_invalid(values)
    mesh = axes.pcolormesh(
        np.arange(columns + 1) - 0.5, np.arange(rows + 1) - 0.5, masked, cmap=colors, norm=norm
    )
    _write_numbers(axes, values, colors, norm)
    _dress(axes, result)
    ys, xs = np.indices(values.shape).reshape(2, -1).tolist()
    name_points(axes, xs, ys, SQUARES)
    panels.figure.colorbar(mesh, ax=axes, label=metric.label, pad=0.02)
    _draw_lines(axes, result)
    unit = f" {metric.unit}" if metric.unit else ""
    handles = [
        Line2D([], [], color=ink(), linewidth=1.8, linestyle=_style(i), label=label)
        for i, line in enumerate(result.lines)
        if result.crosses(line.value) and (label := f"{metric.factor * line.value:.4g}{unit}")
    ]
    if handles:
        panels.legend(columns=min(4, len(handles)), handles=handles)
    panels.title(
        f"{result.facts.where}{result.facts.aged}\n"
        f"mean of {result.facts.counted}; digital {metric.format(result.facts.digital)}{unit}",
    )


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
            zorder=4,
            # Contours are interrupted by numbers.
            bbox={"boxstyle": "square,pad=0.2", "color": (red, green, blue), "linewidth": 0},
        )


def _number(value: float) -> str:
    """Three or four digits, which fit into a square."""
    if not math.isfinite(value) or abs(value) < 1000:
        return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
    return f"{value:.1e}"


def _dress(axes: Axes, result: Map) -> None:
    for key, levels, set_ticks, set_label in (
        (result.x, result.x_levels, axes.set_xticks, axes.set_xlabel),
        (result.y, result.y_levels, axes.set_yticks, axes.set_ylabel),
    ):
        axis = Axis(key, levels)
        set_ticks(range(len(levels)), [axis.format(level) for level in levels])
        set_label(axis.title)
    longest = max(len(Axis(result.x, ()).format(level)) for level in result.x_levels)
    if longest > _SQUARE_CHARACTERS * max(1.0, _FEWEST / len(result.x_levels)):
        for label in axes.get_xticklabels():
            label.set(rotation=30, ha="right", rotation_mode="anchor")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _draw_lines(axes: Axes, result: Map) -> None:
    means = np.array(result.means)
    words_x, words_y = (
        not scale_of(Axis(key, levels), levels).joined
        for key, levels in ((result.x, result.x_levels), (result.y, result.y_levels))
    )
    for index, line in enumerate(result.lines):
        if words_x or words_y:
            for xs, ys in _pieces(means, line.value, words_x, words_y):
                _stroke(axes, xs, ys, index)
        elif result.crosses(line.value):
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
    """Straight pieces of a contour where one axis, or both, are words."""
    pieces: list[tuple[Sequence[float], Sequence[float]]] = []
    if not words_x:
        for row, values in enumerate(means.tolist()):
            for x in positions_of_crossings(values, value):
                pieces.append(((x, x), (row - 0.5, row + 0.5)))
    elif not words_y:
        turned = _pieces(means.T, value, words_y, words_x)
        pieces = [(ys, xs) for xs, ys in turned]
    else:
        above = means >= value - rounding(value)
        for row, column in zip(*np.nonzero(above[:, 1:] != above[:, :-1]), strict=True):
            pieces.append(((column + 0.5, column + 0.5), (row - 0.5, row + 0.5)))
        for row, column in zip(*np.nonzero(above[1:] != above[:-1]), strict=True):
            pieces.append(((column - 0.5, column + 0.5), (row + 0.5, row + 0.5)))
    return pieces
