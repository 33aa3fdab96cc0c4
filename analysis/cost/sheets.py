"""Tables of a cost: by layer, by price, and operations for energy, time and area."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from cimsim.analysis.cost.parts import PARTS, LayerCost, PriceShare, Quantity
from cimsim.analysis.cost.provenance import counted
from cimsim.analysis.labels import layer_name
from cimsim.analysis.sheet import Column, Sheet, columns_of, percentages, quantities
from cimsim.quantities import quantity

if TYPE_CHECKING:
    from cimsim.analysis.cost.result import Cost

BASE: dict[Quantity, tuple[float, str]] = {
    "energy": (1e-12, "J"),
    "time": (1e-9, "s"),
    "area": (1e-12, "m²"),
}
"""Base unit of each quantity, and the factor from pJ, ns and um^2 to it."""


def by_layer(cost: Cost) -> Sheet:
    """One row for each layer and one for all, with the share of generic prices in the energy."""
    known = "" if cost.inputs else ", uniform weights and inputs"
    origins = f"; {counted(cost.prices)}" if cost.prices else ""
    layers = cost.layers
    priced: list[LayerCost | Cost] = [*layers, cost]
    energies = [of.energy_pJ for of in priced]

    def part(name: str) -> Column:
        values = (1e-12 * getattr(energy, name) for energy in energies)
        return quantities(_UPPER.get(name, name), "J", values, essential=False)

    parts = [name for name in PARTS if getattr(energies[-1], name)]
    columns = (
        Column("layer", (*(layer_name(layer.name) for layer in layers), "all"), kind="name"),
        quantities("energy", "J", (1e-12 * energy.total for energy in energies)),
        percentages("share", (energy.total / energies[-1].total for energy in energies)),
        percentages("generic", (_generic(of) for of in priced)),
        quantities("time", "s", (1e-9 * of.latency_ns for of in priced)),
        quantities("area", "m²", (1e-12 * of.area_um2.total for of in priced)),
        *map(part, parts),
        Column("MACs", tuple(f"{of.macs:,}" for of in priced), essential=False),
        Column("tiles", (*map(_tiles, layers), ""), essential=False),
        Column("vectors", (*map(_vectors, layers), ""), essential=False),
    )
    caption = f"One inference on {cost.chip}{known}; 1 MAC = 2 operations{origins}"
    return Sheet(caption, columns if cost.prices else columns[:3] + columns[4:])


_UPPER = {"dac": "DAC", "adc": "ADC"}


def _generic(of: LayerCost | Cost) -> float | None:
    generic, energy = of.generic_pJ, of.energy_pJ.total
    return None if generic is None or not energy else generic.total / energy


def _tiles(layer: LayerCost) -> str:
    return "digital" if layer.counts is None else f"{layer.counts.tiles:,}"


def _vectors(layer: LayerCost) -> str:
    return "" if layer.counts is None else f"{layer.counts.vectors:,}"


def by_price(cost: Cost, of: Quantity) -> Sheet:
    """One row for each price of a quantity: its provenance and its share, the largest first."""
    prices = [price for price in cost.prices if price.quantity == of]
    ranked = sorted(prices, key=lambda price: -price.amount)
    total = math.fsum(price.amount for price in ranked)
    factor, unit = BASE[of]
    several = len({price.profile for price in ranked}) > 1
    counts = tuple(f"{price.count:,.0f}" if price.count else "" for price in ranked)
    columns = (
        Column("price", tuple(price.price for price in ranked), kind="text"),
        Column("provenance", tuple(price.provenance for price in ranked), kind="text"),
        quantities(of, unit, (factor * price.amount for price in ranked)),
        percentages("share", (price.amount / total for price in ranked)),
        *([Column("profile", tuple(p.profile for p in ranked), kind="name")] if several else []),
        Column("number", counts, essential=False),
        Column("each", tuple(map(_each, ranked)), essential=False),
        Column("source", tuple(map(_cited, ranked)), kind="text", essential=False),
    )
    unknown = cost.unknown_areas if of == "area" else ()
    without = f", without the {' and the '.join(unknown)}, whose area is unknown" if unknown else ""
    return Sheet(f"Prices of the {of} of {cost.profile}{without}", columns)


def _each(price: PriceShare) -> str:
    """The mean price of one operation, in the unit that suits it; empty for leakage."""
    factor, unit = BASE[price.quantity]
    return quantity(factor * price.amount / price.count, unit) if price.count else ""


def _cited(price: PriceShare) -> str:
    """The keys of the sources of a price, without their comments."""
    return ", ".join(dict.fromkeys(text.partition(":")[0] for text in price.source.split("; ")))


def rates(cost: Cost) -> Sheet:
    """Operations for energy, time and area; the density only if the area is known."""

    def text(value: float | None, unit: str) -> str:
        return "-" if value is None or math.isnan(value) else quantity(1e12 * value, unit)

    rows = [
        ("efficiency", text(cost.tops_per_W, "OPS/W"), text(cost.tops_per_W_1b, "OPS/W")),
        ("one input at a time", text(cost.tops, "OPS"), text(cost.tops_1b, "OPS")),
        ("every layer at work", text(cost.tops_pipelined, "OPS"), ""),
    ]
    if cost.area_is_known:
        rows.append(("density", text(cost.tops_per_mm2, "OPS/mm²"), ""))
    columns = (
        Column("", (), kind="text"),
        Column("operations", ()),
        Column("normalized to 1 bit", ()),
    )
    return Sheet("Operations for energy, time and area", columns_of(columns, rows))
