"""Tables of profiles: their conductances, and what a fit estimated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from cimsim.analysis.sheet import Column, Sheet, columns_of, scaled
from cimsim.quantities import MISSING, plain_number, scale_of
from cimsim.units import format_duration

if TYPE_CHECKING:
    from cimsim.fitting import DeviceFit, Estimate
    from cimsim.physics.characteristics import Characteristic
    from cimsim.profile import Profile

_SIEMENS = 1e-6  # of a µS


def characteristics_sheet(profile: Profile, rows: Sequence[Characteristic]) -> Sheet:
    """One row for each target and age; without columns that are empty in all rows."""
    scale = scale_of((_SIEMENS * row.g_uS for row in rows), "S")

    def conductances(name: str, field: str) -> Column:
        values = (getattr(row, field) for row in rows)
        return scaled(name, scale, (None if x is None else _SIEMENS * x for x in values))

    def exponents(name: str, field: str, essential: bool = True) -> Column:
        values = (getattr(row, field) for row in rows)
        cells = (MISSING if x is None else plain_number(x) for x in values)
        return Column(name, tuple(cells), essential=essential)

    columns = (
        conductances("target", "g_uS"),
        Column("age", tuple(format_duration(row.t_s) for row in rows)),
        conductances("mean", "g_mean_uS"),
        conductances("programming spread", "sigma_prog_uS"),
        conductances("relaxation spread", "sigma_drift_uS"),
        conductances("read spread", "sigma_read_uS"),
        exponents("drift exponent", "drift_nu_mean"),
        exponents("spread of the exponent", "drift_nu_std", essential=False),
    )
    filled = tuple(column for column in columns if set(column.cells) != {MISSING})
    return Sheet(f"Conductances of {profile.name} at {profile.temperature_C:g} °C", filled, keys=2)


def fit_sheets(fit: DeviceFit) -> Iterator[Sheet]:
    """The estimates with their standard errors: programming, drift, reads; stuck cells."""
    scale = scale_of((_SIEMENS * target for target in fit.targets_uS), "S")

    def estimates(name: str, numbers: Iterable[Estimate]) -> Column:
        pairs = ((_SIEMENS * each.value, _SIEMENS * each.error) for each in numbers)
        cells = (f"{scale.number(value)} ± {scale.number(error)}" for value, error in pairs)
        return Column(name, tuple(cells), scale.unit)

    fresh = format_duration(fit.fresh_s)
    targets = scaled("target", scale, (_SIEMENS * target for target in fit.targets_uS))
    errors = "; ± is the standard error"
    written = (targets, estimates("bias", fit.bias_uS), estimates("spread", fit.sigma_uS))
    yield Sheet(f"Programming after {fresh}{errors}", written)
    if fit.changes:
        each = len(fit.targets_uS)
        ages = [format_duration(change.time_s) for change in fit.changes]
        changed = (
            replace(targets, cells=targets.cells * len(ages)),
            Column("age", tuple(age for age in ages for _ in range(each))),
            estimates("shift", (x for change in fit.changes for x in change.shift_uS)),
            estimates("spread", (x for change in fit.changes for x in change.sigma_uS)),
        )
        yield Sheet(f"Change since {fresh}{errors}", changed, keys=2)
    if fit.read_at_uS is not None and fit.read_sigma_uS is not None:
        at = scaled("conductance", scale, (_SIEMENS * x for x in fit.read_at_uS))
        read = estimates("spread of one read", fit.read_sigma_uS)
        yield Sheet(f"Read noise{errors}", (at, read))
    if fit.stuck:
        columns = (
            Column("at", ()),
            Column("around", (), scale.unit),
            Column("cells", ()),
            Column("share", (), "%"),
            Column("95 % interval", (), "%"),
        )
        rows = (
            (
                cells.at,
                scale.number(_SIEMENS * cells.around_uS),
                f"{cells.cells} of {cells.of}",
                plain_number(100 * cells.rate),
                f"{plain_number(100 * cells.low)} to {plain_number(100 * cells.high)}",
            )
            for cells in fit.stuck
        )
        yield Sheet("Stuck cells", columns_of(columns, rows))
