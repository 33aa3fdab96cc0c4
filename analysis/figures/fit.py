"""A fitted profile over the measurements that it was fitted to."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cimsim.analysis.figures.canvas import looking, new_figure, style
from cimsim.analysis.figures.look import USUAL, Look
from cimsim.analysis.figures.room import legend_that_fits
from cimsim.analysis.figures.theme import color, marker, quiet
from cimsim.fitting import DeviceFit, Estimate, Measurements
from cimsim.fitting.types import Numbers
from cimsim.units import format_duration

_MOST_POINTS = 5000
_LEGEND_COLUMNS = 3
_PANEL_WIDTH, _PANEL_HEIGHT = 0.38, 0.31  # of the figure
# How much excluded reads may widen the axis.
_BEYOND = 1.6


def draw_fit(name: str, data: Measurements, fit: DeviceFit, look: Look = USUAL) -> Figure:
    """Draw programming error, change with time and read noise.

    Data are gray, the fit is in color, bars are two standard errors, crosses and triangles are
    reads that the fit leaves out.

    Raises:
        CimsimError: if an option of ``look`` cannot be used.
    """

    def of_size(size: tuple[float, float]) -> Figure:
        figure = new_figure(*size)
        _draw(figure, data, fit)
        if look.title is None:
            apart = f", {len(fit.left_out)} of them left out" if fit.left_out else ""
            title = f"{name}: {fit.cells} cells, {fit.reads} reads of {data.file}{apart}"
            figure.suptitle(title)
        return figure

    return looking((9.0, 6.6), of_size, look)


def _draw(figure: Figure, data: Measurements, fit: DeviceFit) -> None:
    (error, spread), (change, read) = figure.subplots(2, 2)
    data = data.where(~np.isin(data.line, [read.line for read in fit.left_out]))
    _errors(error, data, fit)
    _bars(spread, fit.targets_uS, fit.sigma_uS, 0, f"after {format_duration(fit.fresh_s)}")
    for index, later in enumerate(fit.changes, start=1):
        age = format_duration(later.time_s)
        _bars(spread, fit.targets_uS, later.sigma_uS, index, f"change, {age}")
        _bars(change, fit.targets_uS, later.shift_uS, index, f"by {age}")
    spread.set(title="Spread from cell to cell", ylabel="Spread (µS)")
    spread.set_ylim(bottom=0)
    if fit.changes:
        change.axhline(0.0, color=quiet(), linewidth=0.8)
        _changes(change, data, fit)
    change.set(title="Mean change since programming", ylabel="Change (µS)")
    if fit.read_at_uS is not None and fit.read_sigma_uS is not None:
        _reads(read, data)
        _bars(read, fit.read_at_uS, fit.read_sigma_uS, 0, "fit")
        read.set_ylim(bottom=0)
    read.set(title="Read noise", ylabel="Spread of one read (µS)")
    for axes, measured in ((change, bool(fit.changes)), (read, fit.read_at_uS is not None)):
        if not measured:
            axes.set(xticks=(), yticks=())
            place = {"ha": "center", "transform": axes.transAxes}
            axes.text(0.5, 0.5, "not measured", color=quiet(), **place)
    for axes in (error, spread, change, read):
        axes.set_xlabel("Conductance (µS)" if axes is read else "Target (µS)")
        style(axes)
        _legend(axes)


def _legend(axes: Axes) -> None:
    """A legend in a separate strip above everything drawn."""
    handles, labels = axes.get_legend_handles_labels()
    if not labels:
        return
    legend = legend_that_fits(
        axes,
        _LEGEND_COLUMNS,
        room=_PANEL_WIDTH,
        handles=handles,
        labels=labels,
        fontsize="x-small",
        loc="upper left",
        columnspacing=1.0,
        handlelength=1.5,
    )
    figure = axes.get_figure()
    assert figure is not None
    strip = min(0.6, legend.get_window_extent().height / (_PANEL_HEIGHT * figure.bbox.height))
    low, high = axes.get_ylim()
    axes.set_ylim(low, low + (high - low) / (1 - strip))


def _errors(axes: Axes, data: Measurements, fit: DeviceFit) -> None:
    """Draw every fresh value against its target, with the fitted mean and spread."""
    fresh = np.flatnonzero(data.time_s == data.time_s.min())
    targets = data.target_uS[fresh]
    _dots(axes, _beside(targets, fit), data.measured_uS[fresh] - targets, "measured")
    bias = np.array([estimate.value for estimate in fit.bias_uS])
    sigma = np.array([estimate.value for estimate in fit.sigma_uS])
    axes.plot(fit.targets_uS, bias, color=color(0), label="mean")
    axes.fill_between(
        fit.targets_uS,
        bias - sigma,
        bias + sigma,
        color=color(0),
        alpha=0.2,
        linewidth=0,
        label="± spread",
    )
    _left_out(axes, fit)
    axes.set(title=f"Programming error after {format_duration(fit.fresh_s)}", ylabel="Error (µS)")


def _left_out(axes: Axes, fit: DeviceFit) -> None:
    """Mark every read that the fit leaves out, at any time; a triangle on the edge where it is far
    beyond the others."""
    if not fit.left_out:
        return
    low, high = axes.get_ylim()
    targets = np.array([read.target_uS for read in fit.left_out])
    errors = np.array([read.measured_uS - read.target_uS for read in fit.left_out])
    low, high = _BEYOND * low, _BEYOND * high
    for there, mark, label in (
        ((low < errors) & (errors < high), "x", "left out (all ages)"),
        (errors <= low, "v", "left out, far below"),
        (errors >= high, "^", "left out, far above"),
    ):
        # Overlapping marks are drawn once.
        at = np.stack((targets[there], np.clip(errors[there], low, high)))
        if there.any():
            axes.plot(*np.unique(at, axis=1), mark, color=color(1), markersize=5, label=label)


def _changes(axes: Axes, data: Measurements, fit: DeviceFit) -> None:
    """Draw the change of each cell until the last time, if cells have names."""
    if data.cell is None:
        return
    places = data.places()
    last_s = fit.changes[-1].time_s
    for index, target in enumerate(fit.targets_uS):
        fresh, last = (data.by_cell(places[target, t]) for t in (fit.fresh_s, last_s))
        _, before, now = np.intersect1d(fresh.cell, last.cell, return_indices=True)
        moved = last.mean_uS[now] - fresh.mean_uS[before]
        label = None if index else f"cells, {format_duration(last_s)}"
        _dots(axes, _beside(np.full(len(moved), target), fit), moved, label, len(fit.targets_uS))


def _reads(axes: Axes, data: Measurements) -> None:
    """Draw the spread of the reads of each cell and time."""
    places = data.places()
    for index, rows in enumerate(places.values()):
        cells = data.by_cell(rows)
        several = cells.reads > 1
        spread = np.sqrt(cells.squares_uS2[several] / (cells.reads[several] - 1))
        _dots(axes, cells.mean_uS[several], spread, None if index else "cells", len(places))


def _beside(targets: Numbers, fit: DeviceFit) -> Numbers:
    """The targets, each moved aside a little, so that points do not hide each other."""
    width = 0.012 * (fit.targets_uS[-1] - fit.targets_uS[0])
    return targets + np.random.default_rng(1).uniform(-width, width, len(targets))


def _dots(axes: Axes, x: Numbers, y: Numbers, label: str | None, parts: int = 1) -> None:
    """Data points; a random choice of them if there are more than anyone can see."""
    most = max(1, _MOST_POINTS // parts)
    if len(x) > most:
        chosen = np.random.default_rng(0).choice(len(x), most, replace=False)
        x, y = x[chosen], y[chosen]
    axes.plot(x, y, ".", color=quiet(), alpha=0.3, markersize=3, label=label)


def _bars(
    axes: Axes, at_uS: tuple[float, ...], estimates: tuple[Estimate, ...], index: int, label: str
) -> None:
    axes.errorbar(
        at_uS,
        [estimate.value for estimate in estimates],
        yerr=[2 * estimate.error for estimate in estimates],
        color=color(index),
        marker=marker(index),
        markersize=4,
        capsize=2,
        linewidth=1.3,
        label=label,
    )
