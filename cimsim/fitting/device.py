"""A complete profile from estimates, with assumptions for everything not measured."""

from __future__ import annotations

from typing import Any

from cimsim.errors import CimsimError
from cimsim.fitting.bad_cells import Stuck
from cimsim.fitting.estimates import DeviceFit, Estimate
from cimsim.profile import Profile

_LONGEST_FIRST_S = 1.0
_WHERE = {"g_min": "g_min", "g_max": "g_max", "random": "a random conductance"}


def build_profile(
    name: str, fit: DeviceFit, like: Profile, file: str, technology: str = "measured"
) -> Profile:
    """Build the profile of ``fit``: tables over the targets; all other sections from ``like``.

    Args:
        name: name of the new profile.
        fit: the estimates.
        like: profile that provides array, converters and costs, marked as assumptions.
        file: name of the file of measurements, for the sources.
        technology: memory technology of the cells.

    Raises:
        CimsimError: if ``like`` uses several slices per weight, which needs levels of a cell.
    """
    if like.array.slices > 1:
        raise CimsimError(
            f"{like.name} stores each weight in {like.array.slices} slices of discrete levels, but "
            "measured cells have continuous conductances; use array and converters of another "
            "profile"
        )
    source = f"measured: {file}, {fit.cells} cells, {fit.reads} reads"
    if fit.left_out:
        source += f" ({len(fit.left_out)} left out)"
    low, high = fit.targets_uS[0], fit.targets_uS[-1]
    times = ", ".join(f"{change.time_s:g}" for change in fit.changes)
    after = f"; drift after {times} s" if times else ""
    cell: dict[str, Any] = {
        "technology": technology,
        "g_min_uS": low,
        "g_max_uS": high,
        "source": f"{source}: lowest and highest target",
        "programming_noise": [
            {
                "kind": "state-dependent",
                "g_ref_uS": 1.0,
                "sigma_uS": _over_targets(fit, fit.sigma_uS),
                "bias_uS": _over_targets(fit, fit.bias_uS),
                "source": f"{source}, after {fit.fresh_s:g} s",
            }
        ],
    }
    if fit.stuck:
        cell["faults"] = [_stuck(cells, source) for cells in fit.stuck]
    if fit.changes:
        # 0 s cannot be represented on a logarithmic axis of time.
        on_logarithm = "" if fit.fresh_s else ", which was read after 0 s (assumption)"
        nothing = _table(fit.targets_uS, [0.0] * len(fit.targets_uS))
        cell["drift"] = [
            {
                "kind": "tabulated",
                "g_ref_uS": 1.0,
                "times_s": [_first_age_s(fit), *(change.time_s for change in fit.changes)],
                "sigma_uS": [nothing, *(_over_targets(fit, c.sigma_uS) for c in fit.changes)],
                "shift_uS": [nothing, *(_over_targets(fit, c.shift_uS) for c in fit.changes)],
                "source": f"{source}; the first age is the fresh cell{on_logarithm}",
            }
        ]
    if fit.read_at_uS is not None and fit.read_sigma_uS is not None:
        values = [sigma.value for sigma in fit.read_sigma_uS]
        cell["read_noise"] = [
            {
                "kind": "state-dependent",
                "g_ref_uS": 1.0,
                "sigma_uS": _table(fit.read_at_uS, values),
                "source": source,
            }
        ]
    return Profile.model_validate(
        {
            "schema_version": 1,
            "name": name,
            "title": f"Fitted to {file}",
            "description": " ".join(
                [
                    f"Tables fitted to {fit.reads} reads of {fit.cells} cells at "
                    f"{len(fit.targets_uS)} targets of {low:g} to {high:g} uS{after}. "
                    "Interpolation is linear between targets and in the logarithm of time between "
                    "ages; values are constant outside. Array, converters and costs are those of "
                    f"{like.name}.",
                    *fit.notes,
                ]
            ),
            "cell": cell,
            "array": _assumed(like.array.model_dump(), like.name),
            "dac": _assumed(like.dac.model_dump(), like.name),
            "adc": _assumed(like.adc.model_dump(), like.name),
            "cost": None if like.cost is None else _assumed(like.cost.model_dump(), like.name),
        }
    )


def _stuck(cells: Stuck, source: str) -> dict[str, Any]:
    between = " (uniform over the range)" if cells.at == "random" else ""
    return {
        "kind": "stuck",
        "at": cells.at,
        "rate": float(f"{cells.rate:.6g}"),
        "source": (
            f"{source}: {cells.cells} of {cells.of} cells at targets that reveal stuck cells; 95 % "
            f"interval of the rate {cells.low:.3g} to {cells.high:.3g} (Clopper and Pearson); "
            f"their median is {cells.around_uS:.3g} uS, and they are simulated at "
            f"{_WHERE[cells.at]}{between}"
        ),
    }


def _assumed(section: Any, like: str) -> Any:
    """Return the values of a section with an assumption as the source, at any depth."""
    if isinstance(section, dict):
        return {
            key: f"assumption: as in {like}" if key == "source" else _assumed(value, like)
            for key, value in section.items()
        }
    if isinstance(section, (list, tuple)):
        return [_assumed(value, like) for value in section]
    return section


def _first_age_s(fit: DeviceFit) -> float:
    """Return the age of the fresh cells on a logarithmic axis."""
    return fit.fresh_s or min(_LONGEST_FIRST_S, fit.changes[0].time_s / 10)


def _over_targets(fit: DeviceFit, estimates: tuple[Estimate, ...]) -> dict[str, Any]:
    return _table(fit.targets_uS, [estimate.value for estimate in estimates])


def _table(at: tuple[float, ...], values: list[float]) -> dict[str, Any]:
    return {"kind": "table", "r": list(at), "values": [float(f"{value:.6g}") for value in values]}
