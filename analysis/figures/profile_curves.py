"""Conductances on a profile, in one figure with a panel for each effect."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from cimsim.analysis.figures.canvas import annotate, looking, new_figure, style
from cimsim.analysis.figures.look import USUAL, Look
from cimsim.analysis.figures.theme import color, dashes
from cimsim.analysis.sweeps.axis import Axis
from cimsim.analysis.sweeps.axis_scale import scale_of as axis_scale_of
from cimsim.physics.characteristics import Characteristic, characteristics, mean_conductances_uS
from cimsim.profile import Profile
from cimsim.quantities import Scale, scale_of
from cimsim.units import format_duration

_POINTS = 101
_MICRO = 1e-6


def draw_profile(
    profile: Profile, g_uS: Sequence[float], times_s: Sequence[float], look: Look = USUAL
) -> Figure:
    """Draw programming, drift and read noise of ``profile`` over conductance, a curve for each age
    of ``times_s``, and the mean conductance over time, a curve for each target of ``g_uS``.

    Raises:
        CimsimError: if an option of ``look`` cannot be used.
    """
    cell = profile.cell
    targets = np.linspace(cell.g_min_uS, cell.g_max_uS, _POINTS).tolist()
    rows = characteristics(profile, targets, times_s)
    by_age = {t: rows[at :: len(times_s)] for at, t in enumerate(times_s)}
    first = by_age[times_s[0]]
    power_law = first[0].drift_nu_mean is not None
    unit = scale_of([_MICRO * cell.g_max_uS], "S")
    panels: list[Callable[[Axes], None]] = [
        lambda axes: _over_targets(
            axes, unit, by_age, lambda row: row.sigma_prog_uS, "Around the target"
        ),
        lambda axes: (
            _exponents(axes, unit, first)
            if power_law
            else _over_targets(
                axes, unit, by_age, lambda row: row.sigma_drift_uS or 0.0, "Relaxation"
            )
        ),
        lambda axes: _over_time(axes, unit, profile, g_uS, times_s),
        lambda axes: _over_targets(axes, unit, by_age, lambda row: row.sigma_read_uS, "One read"),
    ]

    def of_size(size: tuple[float, float]) -> Figure:
        figure = new_figure(*size)
        for panel, axes in zip(panels, figure.subplots(2, 2).flat, strict=True):
            panel(axes)
            style(axes)
        if look.title is None:
            figure.suptitle(f"{profile.name}: {profile.title}")
        return figure

    return looking((9.0, 6.6), of_size, look)


def _in(unit: Scale, values_uS: Sequence[float]) -> np.ndarray:
    return np.asarray(values_uS) * (_MICRO / unit.size)


def _over_targets(
    axes: Axes,
    unit: Scale,
    by_age: dict[float, list[Characteristic]],
    quantity: Callable[[Characteristic], float],
    title: str,
) -> None:
    """A spread over the target, one curve for each age; one for all where they are equal."""
    curves = {
        age_s: ([row.g_uS for row in rows], [quantity(row) for row in rows])
        for age_s, rows in by_age.items()
    }
    spread = scale_of([_MICRO * y for _, ys in curves.values() for y in ys], "S")
    alike = all(np.allclose(curve[1], next(iter(curves.values()))[1]) for curve in curves.values())
    for index, (age_s, (x, y)) in enumerate(curves.items()):
        if alike and index:
            break
        name = "at any age" if alike else f"after {format_duration(age_s)}"
        look = {"color": color(index), "linestyle": dashes(index), "label": name}
        axes.plot(_in(unit, x), _in(spread, y), **look)
    axes.set(title=title, xlabel=unit.heading("Target"), ylabel=spread.heading("Spread"))
    axes.set_ylim(bottom=0)
    axes.legend(fontsize="small")


def _exponents(axes: Axes, unit: Scale, rows: list[Characteristic]) -> None:
    x = _in(unit, [row.g_uS for row in rows])
    mean = np.array([row.drift_nu_mean or 0.0 for row in rows])
    std = np.array([row.drift_nu_std or 0.0 for row in rows])
    axes.plot(x, mean, color=color(0), label="mean")
    axes.fill_between(
        x, mean - std, mean + std, color=color(0), alpha=0.2, linewidth=0, label="± spread"
    )
    axes.set(title="Drift", xlabel=unit.heading("Target"), ylabel="Exponent")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize="small")


def _over_time(
    axes: Axes, unit: Scale, profile: Profile, g_uS: Sequence[float], times_s: Sequence[float]
) -> None:
    late = max([*times_s, 86400.0])
    ages = np.geomspace(1.0, late, _POINTS).tolist()
    of_targets = mean_conductances_uS(profile, g_uS, ages)
    for index, (target, means_uS) in enumerate(zip(g_uS, of_targets, strict=True)):
        means = _in(unit, means_uS)
        axes.plot(ages, means, color=color(index), linestyle=dashes(index))
        if target > 0:  # zero is on the axis
            name, end = unit.text(_MICRO * target), float(means[-1])
            annotate(axes, name, ages[-1], end, color=color(index))
    time = Axis("time", tuple(ages))
    ticks = axis_scale_of(time, ages).ticks
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator([place for place, _ in ticks]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels([text for _, text in ticks])
    axes.set(
        title="Mean conductance of targets", xlabel=time.title, ylabel=unit.heading("Conductance")
    )
    axes.set_ylim(bottom=0)
