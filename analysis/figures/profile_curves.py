"""Conductances on a profile, in one figure with a panel for each effect."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cimsim.analysis.figures.canvas import COLORS, new_figure, style
from cimsim.physics.characteristics import Characteristic, characteristics
from cimsim.profile import Profile
from cimsim.units import format_duration

_POINTS = 101
_LINES = ("-", "--", "-.", ":")


def draw_profile(profile: Profile, g_uS: Sequence[float], times_s: Sequence[float]) -> Figure:
    """Draw programming, drift and read noise of ``profile`` over conductance, a curve for each age
    of ``times_s``, and the mean conductance over time, a curve for each target of ``g_uS``."""
    cell = profile.cell
    targets = np.linspace(cell.g_min_uS, cell.g_max_uS, _POINTS).tolist()
    by_age = {t: characteristics(profile, targets, [t]) for t in times_s}
    first = by_age[times_s[0]]
    power_law = first[0].drift_nu_mean is not None
    panels: list[Callable[[Axes], None]] = [
        lambda axes: _over_targets(
            axes, by_age, lambda row: row.sigma_prog_uS, "Around the target", "Spread (µS)"
        ),
        lambda axes: (
            _exponents(axes, first)
            if power_law
            else _over_targets(
                axes, by_age, lambda row: row.sigma_drift_uS or 0.0, "Relaxation", "Spread (µS)"
            )
        ),
        lambda axes: _over_time(axes, profile, g_uS, times_s),
        lambda axes: _over_targets(
            axes, by_age, lambda row: row.sigma_read_uS, "One read", "Spread (µS)"
        ),
    ]
    figure = new_figure(9.0, 6.6)
    for panel, axes in zip(panels, figure.subplots(2, 2).flat, strict=True):
        panel(axes)
        style(axes)
    figure.suptitle(f"{profile.name}: {profile.title}", fontsize=12)
    return figure


def _over_targets(
    axes: Axes,
    by_age: dict[float, list[Characteristic]],
    quantity: Callable[[Characteristic], float],
    title: str,
    label: str,
) -> None:
    """A quantity over the target, one curve for each age; one for all where they are equal."""
    curves = {
        age_s: ([row.g_uS for row in rows], [quantity(row) for row in rows])
        for age_s, rows in by_age.items()
    }
    alike = all(np.allclose(curve[1], next(iter(curves.values()))[1]) for curve in curves.values())
    for index, (age_s, (x, y)) in enumerate(curves.items()):
        if alike and index:
            break
        name = "at any age" if alike else f"after {format_duration(age_s)}"
        axes.plot(x, y, color=COLORS[index % 7], linestyle=_LINES[index % 4], label=name)
    axes.set(title=title, xlabel="Target conductance (µS)", ylabel=label)
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=9)


def _exponents(axes: Axes, rows: list[Characteristic]) -> None:
    x = np.array([row.g_uS for row in rows])
    mean = np.array([row.drift_nu_mean or 0.0 for row in rows])
    std = np.array([row.drift_nu_std or 0.0 for row in rows])
    axes.plot(x, mean, color=COLORS[0], label="mean")
    axes.fill_between(
        x, mean - std, mean + std, color=COLORS[0], alpha=0.2, linewidth=0, label="± spread"
    )
    axes.set(title="Drift", xlabel="Target conductance (µS)", ylabel="Exponent")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=9)


def _over_time(
    axes: Axes, profile: Profile, g_uS: Sequence[float], times_s: Sequence[float]
) -> None:
    late = max([*times_s, 86400.0])
    ages = np.geomspace(1.0, late, _POINTS).tolist()
    for index, target in enumerate(g_uS):
        rows = characteristics(profile, [target], ages)
        axes.plot(
            ages,
            [row.g_mean_uS for row in rows],
            color=COLORS[index % 7],
            linestyle=_LINES[index % 4],
            label=f"{target:g} µS",
        )
    axes.set_xscale("log")
    axes.set(title="Mean conductance", xlabel="Time since programming (s)")
    axes.set_ylabel("Conductance (µS)")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5))
