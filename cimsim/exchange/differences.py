"""Values of a profile that a configuration of another library cannot represent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cimsim.errors import CimsimError
from cimsim.exchange.notes import Note, shown
from cimsim.profile import Profile

_PARTS = ("cell", "array", "dac", "adc", "wires")
_PRECISION = 1e-9


def lost(before: Profile, after: Profile, library: str) -> tuple[Note, ...]:
    """Return a note for each value of ``before`` that ``after`` has not.

    ``after`` is the profile of the exported configuration, imported again, so nothing is dropped
    without a note. Names, sources and costs are not compared.
    """
    notes: list[Note] = []
    if before.temperature_C != after.temperature_C:
        notes.append(_missing("temperature_C", before.temperature_C, library))
    for part in _PARTS:
        ours, theirs = (_plain(getattr(profile, part), profile) for profile in (before, after))
        if ours is None or theirs is None:
            if ours is not None:
                notes.append(_missing(part, ours, library))
            continue
        notes += _compared(part, ours, theirs, library)
    if before.cost is not None:
        notes.append(_missing("cost", "...", library))
    return tuple(notes)


def refuse_signed_cells(profile: Profile, library: str) -> None:
    """Raise for the idealized cell of textbooks, whose conductance may be negative.

    Raises:
        CimsimError: if the profile has such cells.
    """
    if profile.cell.signed:
        raise CimsimError(
            f"'{profile.name}' has idealized signed cells (g_min_uS below 0), which have no "
            f"counterpart in {library}; export a profile of a device"
        )


def equal(value: Any, other: Any) -> bool:
    """Return whether two plain values are equal up to rounding."""
    if isinstance(value, Mapping) and isinstance(other, Mapping):
        return value.keys() == other.keys() and all(equal(value[k], other[k]) for k in value)
    if isinstance(value, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(value) == len(other) and all(map(equal, value, other))
    if isinstance(value, bool) or isinstance(other, bool):
        return value is other
    if isinstance(value, (int, float)) and isinstance(other, (int, float)):
        return abs(value - other) <= _PRECISION * max(abs(value), abs(other))
    return bool(value == other)


def _plain(section: Any, profile: Profile) -> Any:
    """Return a section as plain values without sources, equivalent forms in one form."""
    if section is None:
        return None
    values = _without_sources(section.model_dump(mode="json"))
    if section is profile.cell:
        del values["technology"]
        # An effect of strength 0 is absent.
        for name, effects in values.items():
            if isinstance(effects, list):
                values[name] = [effect for effect in effects if effect["strength"]]
        values["programming_noise"] = [
            as_polynomial(effect, profile.cell.g_max_uS) or effect
            for effect in values["programming_noise"]
        ]
    if section is profile.array and values["pairs"] and values["pairs"]["table"]:
        values["pairs"]["table"] = _corners(**values["pairs"]["table"])
    return values


def _corners(r: list[float], g_uS: list[list[float]]) -> dict[str, Any]:
    """Return a table without the points that lie on the line between their neighbors."""
    kept = [0]
    for at in range(1, len(r) - 1):
        before, after = kept[-1], at + 1
        share = (r[at] - r[before]) / (r[after] - r[before])
        lines = [of_cell[before] + share * (of_cell[after] - of_cell[before]) for of_cell in g_uS]
        largest = max(max(of_cell) for of_cell in g_uS)
        if any(
            abs(line - of_cell[at]) > _PRECISION * largest
            for line, of_cell in zip(lines, g_uS, strict=True)
        ):
            kept.append(at)
    kept.append(len(r) - 1)
    # Added to 0 so that -0 is 0.
    return {
        "r": [round(r[i], 12) + 0.0 for i in kept],
        "g_uS": [[g[i] for i in kept] for g in g_uS],
    }


def _without_sources(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _without_sources(v) for k, v in value.items() if k != "source"}
    return [_without_sources(v) for v in value] if isinstance(value, list) else value


def as_polynomial(effect: Mapping[str, Any], g_max_uS: float) -> dict[str, Any] | None:
    """Return a programming noise as a state-dependent one in powers of ``g / g_max``.

    None if its spread is not a polynomial.
    """
    kind = effect["kind"]
    if kind == "gaussian":
        coefficients = [effect["sigma_of_g_max"] * g_max_uS]
    elif kind == "relative":
        coefficients = [0.0, effect["sigma_of_g"] * g_max_uS]
    elif effect["sigma_uS"]["kind"] == "polynomial" and effect["bias_uS"] is None:
        ratio = g_max_uS / effect["g_ref_uS"]
        given = effect["sigma_uS"]["coefficients"]
        coefficients = [c * ratio**power for power, c in enumerate(given)]
    else:
        return None
    size = effect["strength"] * effect.get("spread_strength", 1.0)
    coefficients = [size * c for c in coefficients]
    while len(coefficients) > 1 and coefficients[-1] == 0:
        coefficients.pop()
    return {
        "kind": "state-dependent",
        "coefficients_uS": coefficients,
        "device_share": effect["device_share"],
    }


def _compared(
    path: str, ours: Mapping[str, Any], theirs: Mapping[str, Any], library: str
) -> Iterator[Note]:
    for key, value in ours.items():
        place, other = f"{path}.{key}", theirs.get(key)
        if equal(value, other):
            continue
        if isinstance(value, list) and any(isinstance(part, Mapping) for part in value):
            yield from _effects_compared(place, value, other or [], library)
        elif isinstance(value, Mapping) and isinstance(other, Mapping) and "kind" not in value:
            yield from _compared(place, value, other, library)
        elif value is None or value == []:
            yield Note(place, "none", f"becomes {_short(other)}, as always in {library}")
        elif other is None or other == []:
            yield _missing(place, value, library)
        else:
            yield Note(place, _short(value), f"becomes {_short(other)} in {library}")


def _effects_compared(
    path: str, ours: list[Any], theirs: list[Any], library: str
) -> Iterator[Note]:
    others = list(theirs)
    for effect in ours:
        twin = next((other for other in others if other["kind"] == effect["kind"]), None)
        place = f"{path}.{effect['kind']}"
        if twin is None:
            yield _missing(place, "...", library)
            continue
        others.remove(twin)
        for key, value in effect.items():
            if not equal(value, twin.get(key)):
                yield Note(
                    f"{place}.{key}", _short(value), f"becomes {_short(twin.get(key))} in {library}"
                )


def _missing(place: str, value: Any, library: str) -> Note:
    return Note(place, _short(value), f"has no counterpart in {library}; it is missing there")


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        kind = value.get("kind")
        rest = {k: v for k, v in value.items() if k != "kind" and not isinstance(v, (list, dict))}
        inner = ", ".join(f"{k} {shown(v)}" for k, v in rest.items())
        return f"{kind} ({inner})" if kind and inner else str(kind or f"({inner})")
    return "none" if value is None else shown(value)
