"""A fitted device over the measurements that it was fitted to."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from cimsim.analysis.plot import COLOURS
from cimsim.fitting import DeviceFit, Estimate, Measurements

_MOST_POINTS = 5000
_GREY = "#888888"


def draw_fit(name: str, found: Measurements, fit: DeviceFit) -> Figure:
    """Programming error, change with time and read noise: data in grey, the fit in colour, bars
    are two standard errors."""
    layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08)
    figure = Figure(figsize=(9.0, 6.6), layout=layout)
    FigureCanvasAgg(figure)
    (error, spread), (change, read) = figure.subplots(2, 2)
    _errors(error, found, fit)
    _bars(spread, fit.targets_uS, fit.sigma_uS, 0, f"after {fit.fresh_s:g} s")
    for index, later in enumerate(fit.changes, start=1):
        _bars(spread, fit.targets_uS, later.sigma_uS, index, f"change by {later.time_s:g} s")
    spread.set(title="Spread from cell to cell", ylabel="Spread (µS)")
    for index, later in enumerate(fit.changes, start=1):
        _bars(change, fit.targets_uS, later.shift_uS, index, f"after {later.time_s:g} s")
    change.axhline(0.0, color=_GREY, linewidth=0.8)
    change.set(title="Mean change since programming", ylabel="Change (µS)")
    if fit.read_at_uS is not None and fit.read_sigma_uS is not None:
        _bars(read, fit.read_at_uS, fit.read_sigma_uS, 0, "of one read")
        read.set_ylim(bottom=0)
    read.set(title="Read noise", ylabel="Spread (µS)")
    for axes, measured in ((change, bool(fit.changes)), (read, fit.read_at_uS is not None)):
        if not measured:
            axes.text(0.5, 0.5, "not measured", ha="center", transform=axes.transAxes, color=_GREY)
    for axes in (error, spread, change, read):
        axes.set_xlabel("Conductance (µS)" if axes is read else "Target conductance (µS)")
        axes.grid(alpha=0.25, linewidth=0.7)
        axes.spines[["top", "right"]].set_visible(False)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False, fontsize=9)
    spread.set_ylim(bottom=0)
    spread.set_ylim(top=1.25 * spread.get_ylim()[1])  # room for the legend
    figure.suptitle(f"{name}: {fit.cells} cells, {fit.reads} reads of {found.file}", fontsize=12)
    return figure


def _errors(axes: Axes, found: Measurements, fit: DeviceFit) -> None:
    """Every fresh value against its target, with the fitted mean and spread."""
    fresh = np.flatnonzero(found.time_s == found.time_s.min())
    if len(fresh) > _MOST_POINTS:
        fresh = np.random.default_rng(0).choice(fresh, _MOST_POINTS, replace=False)
    targets = found.target_uS[fresh]
    width = 0.012 * (fit.targets_uS[-1] - fit.targets_uS[0])
    beside = np.random.default_rng(1).uniform(-width, width, len(fresh))
    error = found.measured_uS[fresh] - targets
    axes.plot(targets + beside, error, ".", color=_GREY, alpha=0.3, markersize=3, label="measured")
    bias = np.array([estimate.value for estimate in fit.bias_uS])
    sigma = np.array([estimate.value for estimate in fit.sigma_uS])
    axes.plot(fit.targets_uS, bias, color=COLOURS[0], label="mean")
    axes.fill_between(
        fit.targets_uS,
        bias - sigma,
        bias + sigma,
        color=COLOURS[0],
        alpha=0.2,
        linewidth=0,
        label="± spread",
    )
    axes.set(title=f"Programming error after {fit.fresh_s:g} s", ylabel="Error (µS)")


def _bars(
    axes: Axes, at_uS: tuple[float, ...], estimates: tuple[Estimate, ...], index: int, label: str
) -> None:
    axes.errorbar(
        at_uS,
        [estimate.value for estimate in estimates],
        yerr=[2 * estimate.error for estimate in estimates],
        color=COLOURS[index % len(COLOURS)],
        marker="o",
        markersize=4,
        capsize=2,
        linewidth=1.3,
        label=label,
    )
