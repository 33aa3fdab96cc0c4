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
from typing import TYPE_CHECKING, Any

import cimsim
from cimsim.analysis import figures
from cimsim.analysis.cost.parts import PARTS, Counts, LayerCost, Parts, PriceShare
from cimsim.analysis.labels import layer_name
from cimsim.analysis.sheet import Column, Sheet, columns_of, percentages, quantities
from cimsim.analysis.study import Options, Result, Study
from cimsim.quantities import plain_number

if TYPE_CHECKING:
    from cimsim.analysis.figures.canvas import Layout, Panels
    from cimsim.analysis.subjects import Subject

OPS_PER_MAC = 2
_UNITS = ((1e12, "J"), (1e9, "mJ"), (1e6, "µJ"), (1e3, "nJ"), (1.0, "pJ"))
_LONGEST_NAME = 32
_LABELS = {"dac": "DAC", "adc": "ADC"}
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
    """

    profile: str
    overrides: tuple[str, ...]
    inputs: int
    layers: tuple[LayerCost, ...]
    warnings: tuple[str, ...] = ()
    checkpoint_sha256: str = ""
    prices: tuple[PriceShare, ...] = ()
    unknown_areas: tuple[str, ...] = ()

    stem = "cost/cost"

    @property
    def fingerprints(self) -> str:
        """See :class:`Result`."""
        return self.checkpoint_sha256

    @property
    def answer(self) -> str:
        """The result in one sentence."""
        energy, area = self.energy_pJ.total, self.area_um2.total
        return (
            f"An inference takes {energy * 1e-3:.4g} nJ and {self.latency_ns * 1e-3:.4g} µs on "
            f"{area * 1e-6:.4g} mm² of {self.profile}."
        )

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
        """:attr:`tops` over the area; NaN if there is none."""
        area_mm2 = self.area_um2.total * 1e-6
        return self.tops / area_mm2 if area_mm2 else math.nan

    @property
    def tops_per_W_1b(self) -> float | None:
        """:attr:`tops_per_W` normalized to 1 bit."""
        return None if self.bit_ops is None else self.bit_ops / self.energy_pJ.total

    @property
    def tops_1b(self) -> float | None:
        """:attr:`tops` normalized to 1 bit."""
        return None if self.bit_ops is None else self.bit_ops / self.latency_ns * 1e-3

    def derived(self) -> dict[str, Any]:
        """Totals of all layers."""
        totals = {name: getattr(self, name) for name in (*_RATES, *_NORMALIZED)}
        energy, area = self.energy_pJ, self.area_um2
        totals["tops_per_mm2"] = self.tops_per_mm2 if area.total else None
        for name, parts in (("energy_pJ", energy), ("area_um2", area)):
            totals[name] = {**asdict(parts), "total": parts.total}
        return {"totals": totals}

    def rows(self) -> Iterator[Sequence[object]]:
        """Yield one row for each layer and one for all: counts, energies in pJ, latency, areas."""
        counted = [name for name in Counts.__dataclass_fields__ if name != "macs"]
        energies = [f"energy_{part}_pJ" for part in PARTS]
        areas = [f"area_{part}_um2" for part in PARTS[:-1]]
        heading = ["layer", "kind", "profile", "macs", *counted, *energies, "energy_pJ"]
        yield [*heading, "latency_ns", *areas, "area_um2"]
        for layer in self.layers:
            counts = asdict(layer.counts) if layer.counts else {}
            numbers = [layer.macs, *(counts.get(name, "") for name in counted)]
            yield [layer.name, layer.kind, layer.profile, *numbers, *_sums(layer)]
        yield ["all", "", self.profile, self.macs, *[""] * len(counted), *_sums(self)]

    def sheet(self) -> Sheet:
        """One row for each layer and one for all: the same units along a column."""
        profile = ", ".join((self.profile, *self.overrides))
        known = "" if self.inputs else ", uniform weights and inputs"
        caption = f"One inference on {profile}{known}: 1 MAC = 2 operations"
        layers = self.layers
        priced: list[LayerCost | Cost] = [*layers, self]
        energies = [of.energy_pJ for of in priced]

        def part(name: str) -> Column:
            values = (1e-12 * getattr(energy, name) for energy in energies)
            return quantities(name, "J", values, essential=False)

        columns = (
            Column("layer", (*(layer_name(x.name) for x in layers), "all"), kind="name"),
            quantities("energy", "J", (1e-12 * energy.total for energy in energies)),
            percentages("share", (energy.total / energies[-1].total for energy in energies)),
            quantities("time", "s", (1e-9 * of.latency_ns for of in priced)),
            quantities("area", "m²", (1e-12 * of.area_um2.total for of in priced)),
            *map(part, PARTS),
            Column("MACs", tuple(f"{of.macs:,}" for of in priced), essential=False),
            Column("tiles", (*map(_tiles, layers), ""), essential=False),
            Column("vectors", (*map(_vectors, layers), ""), essential=False),
        )
        return Sheet(caption, columns)

    def rates(self) -> Sheet:
        """Operations for energy, time and area."""

        def text(value: float | None) -> str:
            return "-" if value is None or math.isnan(value) else plain_number(value)

        rows = (
            ("efficiency", text(self.tops_per_W), text(self.tops_per_W_1b), "TOPS/W"),
            ("one input at a time", text(self.tops), text(self.tops_1b), "TOPS"),
            ("every layer at work", text(self.tops_pipelined), "", "TOPS"),
            ("density", text(self.tops_per_mm2), "", "TOPS/mm²"),
        )
        columns = (
            Column("", (), kind="text"),
            Column("operations", ()),
            Column("normalized to 1 bit", ()),
            Column("unit", (), kind="text"),
        )
        return Sheet("Operations for energy, time and area", columns_of(columns, rows))

    def more_sheets(self) -> Iterator[Sheet]:
        """See :class:`Result`."""
        yield self.rates()

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
            energy = getattr(layer.energy_pJ, part)
            return (
                f"{layer_name(layer.name)}, {part}\n"
                f"{energy * 1e-3:.4g} nJ, {100 * energy / whole:.3g} % of the total\n"
                f"layer: {layer.energy_pJ.total * 1e-3:.4g} nJ, {layer.latency_ns * 1e-3:.4g} µs"
            )

        return {part: [text(layer, part) for layer in self.layers] for part in PARTS}

    @property
    def layout(self) -> Layout:
        """See :class:`Shown`."""
        return figures.canvas.Layout(8.0, 2.3 + 0.36 * len(self.layers))

    def draw(self, panels: Panels) -> None:
        """Draw the energy of one inference: a bar for each layer, stacked from its parts, whose
        centers are named (``gid``) after the part.

        Layers are in the order of the inference, with their share of the total next to the bars.
        """
        canvas, rows = figures.canvas, len(self.layers)
        whole = self.energy_pJ.total
        unit_pJ, unit = next((pair for pair in _UNITS if whole >= pair[0]), _UNITS[-1])
        (axes,) = panels.axes
        places, left = canvas.row_places(rows), [0.0] * rows
        for part, color in zip(PARTS, canvas.COLORS, strict=False):
            widths = [getattr(layer.energy_pJ, part) / unit_pJ for layer in self.layers]
            label = _LABELS.get(part, part)
            axes.barh(places, widths, left=left, height=0.72, color=color, label=label)
            centers = [x + width / 2 for x, width in zip(left, widths, strict=True)]
            canvas.name_points(axes, centers, places, part)
            left = [x + width for x, width in zip(left, widths, strict=True)]
        for place, total in zip(places, left, strict=True):
            canvas.annotate(axes, f"{100 * total / sum(left):.3g} %", total, place)
        axes.set_xlim(0, 1.12 * max(left))
        canvas.name_rows(axes, places, [_short_name(layer.name) for layer in self.layers])
        axes.set_xlabel(f"Energy per inference ({unit})", fontsize=12)
        axes.tick_params(labelsize=11)
        canvas.style(axes, "x")
        panels.legend(columns=len(PARTS))
        panels.title(
            f"{self.profile}: {whole / unit_pJ:.3g} {unit} and {self.latency_ns * 1e-3:.3g} µs per "
            f"inference, {self.tops_per_W:.3g} TOPS/W",
            fontsize=12,
        )

    @classmethod
    def upgrade(cls, fields: dict[str, Any], path: Path) -> dict[str, Any]:
        """See :class:`Result`."""
        layers = [
            {"profile" if k == "device" else k: v for k, v in layer.items()}
            for layer in fields["layers"]
        ]
        return {**fields, "layers": layers}


class CostOptions(Options):
    """The options of ``cimsim cost`` that a result states."""

    profile: str | None = None
    set: tuple[str, ...] = ()
    inputs: int = 16


def _keys(overrides: Iterable[str]) -> set[str]:
    return {text.partition("=")[0] for text in overrides}


def _short_name(name: str) -> str:
    name = layer_name(name)
    return name if len(name) <= _LONGEST_NAME else f"…{name[1 - _LONGEST_NAME :]}"


def _sums(of: LayerCost | Cost) -> list[float]:
    """Energies, latency and areas, parts first."""
    energy, area = of.energy_pJ, of.area_um2
    energies = [*(getattr(energy, part) for part in PARTS), energy.total]
    areas = [*(getattr(area, part) for part in PARTS[:-1]), area.total]
    return [*energies, of.latency_ns, *areas]


def _tiles(layer: LayerCost) -> str:
    return "digital" if layer.counts is None else f"{layer.counts.tiles:,}"


def _vectors(layer: LayerCost) -> str:
    return "" if layer.counts is None else f"{layer.counts.vectors:,}"


STUDY = Study("cost", Cost, "Cost", "Cost by layer and part")
