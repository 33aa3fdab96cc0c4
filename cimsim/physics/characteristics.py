"""Characteristics of a profile in the quantities that papers report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from cimsim.errors import CimsimError
from cimsim.physics.cells import aged_uS, at_temperature_uS, programmed_uS
from cimsim.physics.curves import evaluate
from cimsim.physics.drift import relaxation_uS
from cimsim.physics.programming import reachable_uS
from cimsim.physics.read_noise import ReadContext, read_variance_uS2
from cimsim.physics.spread import Programmed
from cimsim.profile import PowerLawDrift, Profile, TabulatedDrift, TelegraphReadNoise


class Characteristic(NamedTuple):
    """One target conductance at one age.

    Attributes:
        g_uS, t_s: the target, and the time since programming.
        sigma_prog_uS: standard deviation of all cells at that age: from programming, as limited
            by write-and-verify, from spatial variation over all chips, and from a spread tabulated
            over time; within the cell's bounds.
        drift_nu_mean, drift_nu_std: drift exponent and its cell-to-cell spread; None if the drift
            is not a power law.
        sigma_drift_uS: spread added by relaxation (tabulated or logarithmic) until that age; None
            without relaxation.
        g_mean_uS: conductance of a cell without spread: programmed with the mean error, aged by the
            mean exponent or shift, at the operating temperature.
        sigma_read_uS: spread of one read of that conductance, over all cells and all sessions,
            including slow noise.
    """

    g_uS: float
    t_s: float
    sigma_prog_uS: float
    drift_nu_mean: float | None
    drift_nu_std: float | None
    sigma_drift_uS: float | None
    g_mean_uS: float
    sigma_read_uS: float


def characteristics(
    profile: Profile, g_uS: Sequence[float], times_s: Sequence[float]
) -> list[Characteristic]:
    """Compute the characteristics of every target in ``g_uS`` at every age in ``times_s``.

    Raises:
        CimsimError: if a conductance is outside the cell's range, or an age is negative.

    >>> from cimsim.profile import load_profile
    >>> (row,) = characteristics(load_profile("pcm-ibm-2020"), [25.0], [3600.0])
    >>> round(row.sigma_prog_uS, 5), row.drift_nu_mean, round(row.g_mean_uS, 3)
    (1.05538, 0.049, 19.378)
    """
    targets = _targets_uS(profile, g_uS, times_s)
    programmed = Programmed(reachable_uS(targets, profile.cell), profile.cell)
    rows = [_at(profile, targets, programmed, age_s) for age_s in times_s]
    return [row for by_target in zip(*rows, strict=True) for row in by_target]


def mean_conductances_uS(
    profile: Profile, g_uS: Sequence[float], times_s: Sequence[float]
) -> list[list[float]]:
    """Compute ``g_mean_uS`` of :func:`characteristics` alone: for every target in ``g_uS`` a list
    over the ages in ``times_s``.

    Raises:
        CimsimError: as :func:`characteristics`.
    """
    g = reachable_uS(_targets_uS(profile, g_uS, times_s), profile.cell)
    means: list[list[float]] = torch.stack(
        [_mean_uS(profile, g, age_s) for age_s in times_s], dim=1
    ).tolist()
    return means


def _targets_uS(profile: Profile, g_uS: Sequence[float], times_s: Sequence[float]) -> Tensor:
    """
    Raises:
        CimsimError: if a conductance is outside the cell's range, or an age is negative.
    """
    cell = profile.cell
    for value in g_uS:
        if not cell.g_min_uS <= value <= cell.g_max_uS:
            raise CimsimError(
                f"a conductance of {profile.name} must be {cell.g_min_uS:g} to "
                f"{cell.g_max_uS:g} µS, not {value:g} µS"
            )
    if any(not t >= 0 for t in times_s):
        raise CimsimError(f"an age must be 0 s or more, got {min(times_s):g}")
    return torch.tensor(list(g_uS), dtype=torch.float64, device="cpu")


def _mean_uS(profile: Profile, g: Tensor, age_s: float) -> Tensor:
    quiet, celsius = profile.scale_noise(0.0).cell, profile.temperature_C
    now = aged_uS(programmed_uS(g, quiet, 0), g, quiet, age_s, 0, temperature_C=celsius)
    return at_temperature_uS(now, g, quiet, celsius)


def _at(
    profile: Profile, targets: Tensor, programmed: Programmed, age_s: float
) -> list[Characteristic]:
    cell, celsius = profile.cell, profile.temperature_C
    g = reachable_uS(targets, cell)
    shift, variance = torch.zeros_like(g), torch.zeros_like(g)
    for drift in cell.drift:
        if isinstance(drift, TabulatedDrift):
            change, sigma = relaxation_uS(drift, g, age_s, celsius)
            shift, variance = shift + change, variance + sigma.square()
    now = _mean_uS(profile, g, age_s)
    columns = {
        "sigma_prog_uS": programmed.spread_uS(shift, variance.sqrt()),
        "g_mean_uS": now,
        "sigma_read_uS": _read_sigma_uS(profile, now, g, age_s),
        **_drift(profile, g, age_s),
    }
    return [
        Characteristic(
            g_uS=target,
            t_s=age_s,
            **{name: None if v is None else v[i].item() for name, v in columns.items()},  # type: ignore[arg-type]
        )
        for i, target in enumerate(targets.tolist())
    ]


def _drift(profile: Profile, g: Tensor, age_s: float) -> dict[str, Tensor | None]:
    """Return exponents and spread; exponents of several power laws and squared spreads add up."""
    mean = std2 = spread2 = None
    for drift in profile.cell.drift:
        if isinstance(drift, PowerLawDrift):
            r = g / drift.g_ref_uS
            factor = drift.strength * drift.steepness(profile.temperature_C)
            nu = factor * evaluate(drift.nu_mean, r)
            sigma = factor * drift.spread_strength * evaluate(drift.nu_std, r)
            mean = nu if mean is None else mean + nu
            std2 = sigma.square() if std2 is None else std2 + sigma.square()
        elif drift.strength:
            _, sigma = relaxation_uS(drift, g, age_s, profile.temperature_C)
            spread2 = sigma.square() if spread2 is None else spread2 + sigma.square()
    return {
        "drift_nu_mean": mean,
        "drift_nu_std": None if std2 is None else std2.sqrt(),
        "sigma_drift_uS": None if spread2 is None else spread2.sqrt(),
    }


def _read_sigma_uS(profile: Profile, g_uS: Tensor, g_target_uS: Tensor, age_s: float) -> Tensor:
    cell = profile.cell
    at = ReadContext(g_uS, g_target_uS, cell, age_s, profile.temperature_C)
    variance = read_variance_uS2(at, sessions=True)
    total = torch.zeros_like(g_uS) if variance is None else variance
    for noise in cell.read_noise:
        if isinstance(noise, TelegraphReadNoise):
            step_uS = noise.strength * noise.step_of_g * g_uS
            shares = noise.share_of_cells * noise.occupancy * (1 - noise.occupancy)
            total = total + shares * step_uS.square()
    return total.sqrt()
