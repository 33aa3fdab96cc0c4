"""Energy, latency and area of a model's inference on a chip, by layer and by part.

One MAC is two operations, a multiplication and an addition. For one inference at a time:

    TOPS = ops / latency,   TOPS/W = ops / energy,   TOPS/mm^2 = TOPS / area

Normalized to 1 bit, every operation counts as often as its input has bits times its weight.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import cimsim
from cimsim.analysis import figures
from cimsim.analysis.cost import sheets
from cimsim.analysis.cost.parts import PARTS, Counts, LayerCost, Parts, PriceShare, Quantity
from cimsim.analysis.cost.provenance import in_words, provenance_shares
from cimsim.analysis.headline import COST, Headline
from cimsim.analysis.labels import layer_name
from cimsim.analysis.sheet import Sheet
from cimsim.analysis.study import Options, Result, Study
from cimsim.provenance import Provenance
from cimsim.quantities import quantity

if TYPE_CHECKING:
    from cimsim.analysis.figures.canvas import Layout, Panels
    from cimsim.analysis.subjects import Subject

OPS_PER_MAC = 2
_RATES = ("macs", "ops", "latency_ns", "interval_ns", "tops", "tops_pipelined", "tops_per_W")
_NORMALIZED = ("tops_1b", "tops_per_W_1b")


@dataclass(frozen=True)
class Cost(Result):
    """Energy, latency and area of one inference, by layer and in total.

    Attributes:
        profile, overrides: the profile, and the values that were changed.
        inputs: number of inputs that were used, together with the programmed weights; 0 if both
            are assumed to be uniform.
        layers: layers in the order of the inference.
        warnings: formulas used beyond their range, and numbers that were not given.
        checkpoint_sha256: hash of the run's weights; empty for a model.
        prices: every price with its provenance and its sum; empty in older files.
        unknown_areas: converters whose area the profile does not give; areas exclude them.
        on: profile, where it is not the subject's own.
        changes: values of it that were changed for this result.
    """

    profile: str
    overrides: tuple[str, ...]
    inputs: int
    layers: tuple[LayerCost, ...]
    warnings: tuple[str, ...] = ()
    checkpoint_sha256: str = ""
    prices: tuple[PriceShare, ...] = ()
    unknown_areas: tuple[str, ...] = ()
    on: str | None = None
    changes: tuple[str, ...] = ()

    stem = "cost/cost"

    @property
    def fingerprints(self) -> str:
        """See :class:`Result`."""
        return self.checkpoint_sha256

    @property
    def conditions(self) -> tuple[str, ...]:
        """See :class:`Result`."""
        return (*([self.on] if self.on else []), *self.changes)

    @property
    def chip(self) -> str:
        """The profile in words, with the values that were changed."""
        changes = ", ".join(map(cimsim.profile.override_in_words, self.overrides))
        return f"{self.profile} with {changes}" if changes else self.profile

    @property
    def answer(self) -> str:
        """The result in words: the totals, and what they rest on."""
        area = quantity(1e-12 * self.area_um2.total, "m²")
        known = f" without the {' and the '.join(self.unknown_areas)}" if self.unknown_areas else ""
        return (
            f"An inference takes {quantity(1e-12 * self.energy_pJ.total, 'J')} and "
            f"{quantity(1e-9 * self.latency_ns, 's')} on {area}{known} of {self.profile}, "
            f"{quantity(1e12 * self.tops_per_W, 'OPS/W')}. {self.rests_on}"
        ).rstrip()

    @property
    def rests_on(self) -> str:
        """The provenance of the energy in a sentence; empty in older files."""
        return in_words(self.provenance("energy"), "energy")

    def provenance(self, of: Quantity) -> dict[Provenance, float]:
        """The share of ``energy``, ``time`` or ``area``, from 0 to 1, that comes from prices of
        each provenance (measured, published, set by hand, generic); empty in older files.
        """
        return provenance_shares(self.prices, of)

    @property
    def about(self) -> str:
        """See :class:`Shown`."""
        return self.answer

    @property
    def macs(self) -> float:
        """MACs of all layers."""
        return sum(layer.macs for layer in self.layers)

    @property
    def ops(self) -> float:
        """Operations, two for each MAC."""
        return OPS_PER_MAC * self.macs

    @property
    def bit_ops(self) -> float | None:
        """Operations times bits of input and weight; None if one of them is not known."""
        known = [layer.bit_macs for layer in self.layers if layer.bit_macs is not None]
        return OPS_PER_MAC * sum(known) if len(known) == len(self.layers) else None

    @property
    def energy_pJ(self) -> Parts:
        """Energy of one inference."""
        return sum((layer.energy_pJ for layer in self.layers), Parts())

    @property
    def area_um2(self) -> Parts:
        """Area of all layers' tiles and buffers."""
        return sum((layer.area_um2 for layer in self.layers), Parts())

    @property
    def generic_pJ(self) -> Parts | None:
        """Part of the energy that follows from generic prices; None in older files."""
        generic = [layer.generic_pJ for layer in self.layers if layer.generic_pJ is not None]
        return sum(generic, Parts()) if len(generic) == len(self.layers) else None

    @property
    def latency_ns(self) -> float:
        """Time of one inference, layer after layer."""
        return math.fsum(layer.latency_ns for layer in self.layers)

    @property
    def interval_ns(self) -> float:
        """Time from one inference to the next if every layer works on another input: that of the
        slowest layer."""
        return max(layer.latency_ns for layer in self.layers)

    @property
    def tops(self) -> float:
        """Operations in a ps, one inference at a time."""
        return self.ops / self.latency_ns * 1e-3

    @property
    def tops_pipelined(self) -> float:
        """The same with all layers at work."""
        return self.ops / self.interval_ns * 1e-3

    @property
    def tops_per_W(self) -> float:
        """Operations in a pJ."""
        return self.ops / self.energy_pJ.total

    @property
    def tops_per_mm2(self) -> float:
        """:attr:`tops` over the area; NaN if there is none, or if it excludes some parts."""
        area_mm2 = self.area_um2.total * 1e-6
        return self.tops / area_mm2 if area_mm2 and not self.unknown_areas else math.nan

    @property
    def area_is_known(self) -> bool:
        """Whether the area has all parts, at least half of it by prices that are not generic."""
        shares = self.provenance("area")
        return bool(shares) and not self.unknown_areas and shares.get("generic", 0.0) <= 0.5

    @property
    def tops_per_W_1b(self) -> float | None:
        """:attr:`tops_per_W` normalized to 1 bit."""
        return None if self.bit_ops is None else self.bit_ops / self.energy_pJ.total

    @property
    def tops_1b(self) -> float | None:
        """:attr:`tops` normalized to 1 bit."""
        return None if self.bit_ops is None else self.bit_ops / self.latency_ns * 1e-3

    @property
    def headline(self) -> Headline:
        """Energy and time of an inference."""
        energy = quantity(self.energy_pJ.total * 1e-12, "J")
        time = quantity(self.latency_ns * 1e-9, "s")
        rate = quantity(self.tops_per_W * 1e12, "OPS/W")
        sentence = (
            f"An inference takes {energy} and {time} on {self.chip} ({rate}). {self.rests_on}"
        )
        weight = 1 / (1 + len(self.conditions))
        elsewhere = f" with {', '.join(self.conditions)}" if self.conditions else ""
        what = f"energy of an inference{elsewhere}"
        return Headline(COST, sentence.rstrip(), energy, what, weight)

    def derived(self) -> dict[str, Any]:
        """Totals of all layers."""
        totals = {name: getattr(self, name) for name in (*_RATES, *_NORMALIZED)}
        energy, area = self.energy_pJ, self.area_um2
        density = self.tops_per_mm2
        totals["tops_per_mm2"] = None if math.isnan(density) else density
        for name, parts in (("energy_pJ", energy), ("area_um2", area)):
            totals[name] = {**asdict(parts), "total": parts.total}
        totals["provenance"] = {kind: self.provenance(kind) for kind in get_args(Quantity)}
        return {"totals": totals}

    def rows(self) -> Iterator[Sequence[object]]:
        """Yield one row for each layer and one for all: counts, energies in pJ, latency, areas, and
        the energy from generic prices."""
        counted = [name for name in Counts.__dataclass_fields__ if name != "macs"]
        energies = [f"energy_{part}_pJ" for part in PARTS]
        areas = [f"area_{part}_um2" for part in PARTS[:-1]]
        heading = ["layer", "kind", "profile", "macs", *counted, *energies, "energy_pJ"]
        yield [*heading, "latency_ns", *areas, "area_um2", "energy_generic_pJ"]
        for layer in self.layers:
            counts = asdict(layer.counts) if layer.counts else {}
            numbers = [layer.macs, *(counts.get(name, "") for name in counted)]
            yield [layer.name, layer.kind, layer.profile, *numbers, *_sums(layer)]
        yield ["all", "", self.profile, self.macs, *[""] * len(counted), *_sums(self)]

    def sheet(self) -> Sheet:
        """One row for each layer and one for all."""
        return sheets.by_layer(self)

    def rates(self) -> Sheet:
        """Operations for energy, time and area."""
        return sheets.rates(self)

    def more_sheets(self) -> Iterator[Sheet]:
        """See :class:`Result`."""
        yield sheets.rates(self)
        for kind in dict.fromkeys(price.quantity for price in self.prices):
            yield sheets.by_price(self, kind)

    def options(self) -> CostOptions:
        """See :class:`Result`."""
        return CostOptions(profile=self.profile, set=self.overrides, inputs=self.inputs)

    def options_for(self, subject: Subject) -> CostOptions:
        """See :class:`Result`."""
        profiles = subject.assignment.profiles
        own = [text for profile in profiles for text in profile.overrides]
        names = {profile.name for profile in profiles}
        if set(self.profile.split(", ")) != names or not _keys(own) <= _keys(self.overrides):
            profile = cimsim.profile.typed_profile(self.profile)
            return CostOptions(profile=profile, set=self.overrides, inputs=self.inputs)
        changes = tuple(text for text in self.overrides if text not in own)
        return CostOptions(set=changes, inputs=self.inputs)

    def hover(self) -> dict[str, list[str]]:
        """See :class:`Result`."""
        whole = self.energy_pJ.total

        def text(layer: LayerCost, part: str) -> str:
            energy, generic = getattr(layer.energy_pJ, part), layer.generic_pJ
            lines = [
                f"{layer_name(layer.name)}, {part}",
                f"{quantity(1e-12 * energy, 'J')}, {100 * energy / whole:.3g} % of the total",
                f"layer: {quantity(1e-12 * layer.energy_pJ.total, 'J')}, "
                f"{quantity(1e-9 * layer.latency_ns, 's')}",
            ]
            if generic is not None and energy:
                lines.append(f"{100 * getattr(generic, part) / energy:.3g} % from generic prices")
            return "\n".join(lines)

        return {part: [text(layer, part) for layer in self.layers] for part in PARTS}

    @property
    def layout(self) -> Layout:
        """See :class:`Shown`."""
        return figures.cost_bars.layout_of(self)

    def draw(self, panels: Panels) -> None:
        """See :func:`cimsim.analysis.figures.cost_bars.draw_bars`."""
        figures.cost_bars.draw_bars(panels, self)

    @classmethod
    def upgrade(cls, fields: dict[str, Any], path: Path) -> dict[str, Any]:
        """See :class:`Result`."""
        layers = [
            {"profile" if k == "device" else k: v for k, v in layer.items()}
            for layer in fields["layers"]
        ]
        unknown = [
            name
            for name in ("DAC", "ADC")
            if any(f"area of the {name} is unknown" in text for text in fields.get("warnings", ()))
        ]
        return {"unknown_areas": unknown, **fields, "layers": layers}


class CostOptions(Options):
    """The options of ``cimsim cost`` that a result states."""

    profile: str | None = None
    set: tuple[str, ...] = ()
    inputs: int = 16


def _keys(overrides: Iterable[str]) -> set[str]:
    return {text.partition("=")[0] for text in overrides}


def _sums(of: LayerCost | Cost) -> list[object]:
    """Energies, latency, areas and the generic energy, parts first."""
    energy, area = of.energy_pJ, of.area_um2
    energies = [*(getattr(energy, part) for part in PARTS), energy.total]
    areas = [*(getattr(area, part) for part in PARTS[:-1]), area.total]
    generic = "" if of.generic_pJ is None else of.generic_pJ.total
    return [*energies, of.latency_ns, *areas, generic]


STUDY = Study("cost", Cost, "Cost", "Cost by layer and part")
