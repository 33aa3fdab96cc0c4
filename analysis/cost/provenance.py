"""Share of a cost that each provenance of prices makes, in numbers and in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from cimsim.analysis.cost.parts import PriceShare, Quantity
from cimsim.provenance import PROVENANCES, Provenance
from cimsim.quantities import plain_number

if TYPE_CHECKING:
    from cimsim.analysis.cost.result import Cost

PRICE_CLASSES = (
    "measured or published prices",
    "partly generic prices",
    "generic prices",
    "incomplete areas",
)
"""Classes of costs that can be compared with each other."""
SHORT_CLASSES = {
    "": "",
    **dict(
        zip(PRICE_CLASSES, ("published", "partly generic", "generic", "incomplete"), strict=True)
    ),
}
"""The same in a word or two, for a column of a table."""
_FEW = 0.1  # share of generic prices, or of others, that does not change the class
_OF = {"energy": "the energy", "time": "the time", "area": "the known area"}


def provenance_shares(prices: Sequence[PriceShare], quantity: Quantity) -> dict[Provenance, float]:
    """Return the share of ``quantity``, from 0 to 1, that follows from the prices of each
    provenance; empty if ``prices`` do not contain the quantity.

    >>> prices = [PriceShare("a", "energy", "cell read", "published", 8, 3.0),
    ...           PriceShare("a", "energy", "addition", "generic", 4, 1.0)]
    >>> provenance_shares(prices, "energy")
    {'published': 0.75, 'generic': 0.25}
    """
    amounts = {
        provenance: math.fsum(
            price.amount
            for price in prices
            if price.quantity == quantity and price.provenance == provenance
        )
        for provenance in PROVENANCES
    }
    total = math.fsum(amounts.values())
    return {name: amount / total for name, amount in amounts.items() if amount} if total else {}


def price_class(cost: Cost, quantity: Quantity) -> str:
    """Return the class of :data:`PRICE_CLASSES` of the ``quantity`` of a cost.

    Up to 10 % from generic prices counts as measured or published, and more than 90 % as generic;
    prices set by hand count as measured ones. An area without its converters is incomplete.
    """
    known, mixed, generic, incomplete = PRICE_CLASSES
    if quantity == "area" and cost.unknown_areas:
        return incomplete
    share = cost.provenance(quantity).get("generic", 0.0)
    return known if share <= _FEW else mixed if share <= 1 - _FEW else generic


def in_words(shares: Mapping[Provenance, float], quantity: Quantity) -> str:
    """Write the shares of ``quantity`` as a sentence; empty if there are none.

    >>> in_words({"published": 0.75, "generic": 0.25}, "energy")
    '75 % of the energy comes from published prices, 25 % from generic ones.'
    """
    if not shares:
        return ""
    (first, most), *others = sorted(shares.items(), key=lambda item: -item[1])
    if not others:
        return f"All of {_OF[quantity]} comes from {_named(first)} prices."
    rest = ", ".join(f"{_percent(share)} from {_named(name)} ones" for name, share in others)
    return f"{_percent(most)} of {_OF[quantity]} comes from {_named(first)} prices, {rest}."


def counted(prices: Sequence[PriceShare]) -> str:
    """Write how many prices of the energy have which provenance.

    >>> counted([PriceShare("a", "energy", "addition", "generic", 4, 1.0)])
    'prices: 1 generic'
    """
    origins = [price.provenance for price in prices if price.quantity == "energy"]
    numbers = {name: origins.count(name) for name in PROVENANCES}
    words = ", ".join(f"{count} {name}" for name, count in numbers.items() if count)
    return f"prices: {words}" if words else ""


def _percent(share: float) -> str:
    return f"{plain_number(100 * share)} %"


def _named(provenance: Provenance) -> str:
    return "hand-set" if provenance == "set by hand" else provenance
