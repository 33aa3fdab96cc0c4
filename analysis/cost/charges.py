"""What a layer pays for each kind of operation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cimsim.analysis.cost.parts import PARTS, Parts
from cimsim.provenance import Provenance


@dataclass(frozen=True)
class Price:
    """Energy, time or area of one operation or one piece.

    Attributes:
        name: the operation or the piece in words.
        each: its price; 1 if prices differ between pieces, as for the reads of cells.
        provenance: least reliable origin of the numbers that the price is computed from.
        source: sources of these numbers.
    """

    name: str
    each: float
    provenance: Provenance
    source: str


@dataclass(frozen=True)
class Charge:
    """What a layer pays for one kind of operation, or of piece: ``amount`` in pJ, ns or um^2."""

    price: Price
    part: str
    count: float
    amount: float


def parts_of(charges: Iterable[Charge], provenance: Provenance | None = None) -> Parts:
    """Sum ``charges`` by part, restricted to one ``provenance`` if it is given."""
    sums = dict.fromkeys(PARTS, 0.0)
    for charge in charges:
        if provenance in (None, charge.price.provenance):
            sums[charge.part] += charge.amount
    return Parts(**sums)
