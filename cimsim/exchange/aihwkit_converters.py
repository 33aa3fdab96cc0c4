"""aihwkit's conductance converters as mappings of a profile."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from cimsim.errors import CimsimError
from cimsim.exchange.aihwkit_fields import LIBRARY
from cimsim.exchange.notes import Draft, Notes
from cimsim.exchange.source import CLASS, Field, Source
from cimsim.suggest import unknown

_BASE = (
    Field("class", "", "array.mapping"),
    Field("g_max", 25.0, "cell.g_max_uS"),
    Field("g_min", 0.0, "cell.g_min_uS"),
    Field("scale_ratio", None, "", "is a remark without effect"),
)
CONVERTERS: dict[str, tuple[Field, ...]] = {
    "SinglePairConductanceConverter": _BASE,
    "DualPairConductanceConverter": (*_BASE, Field("f_lst", None, "array.pairs.significance")),
    "NPairConductanceConverter": (*_BASE, Field("f_lst", None, "array.pairs.significance")),
    "CustomPairConductanceConverter": (
        *_BASE,
        Field("f_lst", None, "array.pairs.significance"),
        Field("g_lst", None, "array.pairs.table"),
    ),
    "SingleDeviceConductanceConverter": (
        Field("class", "", "array.mapping"),
        Field("g_max", 88.199997, "cell.g_max_uS"),
        Field("g_min", 9.0, "cell.g_min_uS"),
        Field("scale_ratio", None, "", "is a remark without effect"),
    ),
}
"""Fields of each converter by its class."""


def add_mapping(converter: object, g_max_uS: float, draft: Draft, notes: Notes) -> None:
    """Add the conductance range and the mapping of a converter.

    Raises:
        CimsimError: if the converter's class is unknown.
    """
    given = converter if isinstance(converter, Mapping) else {}
    name = str(given.get(CLASS, "SinglePairConductanceConverter"))
    if name not in CONVERTERS:
        raise CimsimError(unknown("conductance converter of aihwkit", name, CONVERTERS))
    source = Source(LIBRARY, given, CONVERTERS[name])
    low = source.number("g_min")
    high = source.number("g_max") if "g_max" in source else g_max_uS
    draft.cell |= {"g_min_uS": low, "g_max_uS": high}
    if name == "SingleDeviceConductanceConverter":
        draft.array["mapping"] = "offset-current"
        notes.add(
            "noise_model.g_converter",
            name,
            "aihwkit maps the lowest and the highest weight of a tile to g_min and g_max, so that "
            "zero can be at any code in between; here the range is symmetric around zero",
        )
        return
    draft.array["mapping"] = "differential-pair"
    if name == "SinglePairConductanceConverter":
        return
    significance = source.numbers("f_lst")
    if not significance or min(significance) <= 0:
        raise CimsimError(f"{LIBRARY}: 'f_lst' must be positive numbers, not {significance}")
    if name == "CustomPairConductanceConverter":
        table = _custom_table([[float(g) for g in row] for row in source["g_lst"] or ()])
    else:
        table = _one_after_another(significance, low, high)
    draft.array["pairs"] = {"significance": significance, "table": table}


def _custom_table(g_uS: list[list[float]]) -> dict[str, Any]:
    """Return a table over evenly spaced weights, as this converter interpolates it."""
    count = len(g_uS[0]) if g_uS else 0
    if count < 2:
        raise CimsimError(f"{LIBRARY}: 'g_lst' must be lists of two or more conductances")
    r = [2 * step / (count - 1) - 1 for step in range(count)]
    return {"r": r, "g_uS": g_uS}


def _one_after_another(significance: list[float], low: float, high: float) -> dict[str, Any]:
    """Return the table in which a pair is used once the range of the pairs before it is full."""
    edges = [0.0]
    for factor in significance:
        edges.append(edges[-1] + factor / sum(significance))
    edges[-1] = 1.0
    r = [-edge for edge in reversed(edges)] + edges[1:]
    g_uS: list[list[float]] = []
    for start, end in pairwise(edges):
        plus = [low + (high - low) * min(max((x - start) / (end - start), 0.0), 1.0) for x in r]
        g_uS += [plus, plus[::-1]]
    return {"r": r, "g_uS": g_uS}
