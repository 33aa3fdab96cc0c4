"""Energy, latency and area of a model's inference on a chip.

One MAC is two operations, a multiplication and an addition. Of one inference at a time:

    TOPS = ops / latency,   TOPS/W = ops / energy,   TOPS/mm^2 = TOPS / area

and 1-bit-normalized, every operation counts as often as its input has bits times its weight.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, astuple, dataclass, fields, replace
from typing import Any

from torch import Tensor, nn

from cimsim.analysis.cost.counts import Counts, count
from cimsim.analysis.cost.drive import IDEAL_BITS
from cimsim.analysis.cost.prices import Prices, prices_of
from cimsim.analysis.cost.reading import ReadPower, read_power
from cimsim.analysis.cost.workload import (
    OPS_PER_MAC,
    AnalogWork,
    DigitalWork,
    Workload,
    workload_of,
)
from cimsim.analysis.names import layer_name
from cimsim.analysis.study import Result, Sheet
from cimsim.errors import CimsimError
from cimsim.profile import CostRates, Profile


@dataclass(frozen=True)
class Parts:
    """A sum and what it is made of: energies in pJ, or areas in um^2 (which know no leakage)."""

    array: float = 0.0
    dac: float = 0.0
    adc: float = 0.0
    digital: float = 0.0
    buffer: float = 0.0
    leakage: float = 0.0

    @property
    def total(self) -> float:
        """All parts together."""
        return math.fsum(astuple(self))

    def __add__(self, other: Parts) -> Parts:
        return Parts(*map(math.fsum, zip(astuple(self), astuple(other), strict=True)))


PARTS: tuple[str, ...] = tuple(part.name for part in fields(Parts))
_RATES = ("macs", "ops", "latency_ns", "interval_ns", "tops", "tops_pipelined", "tops_per_W")
_NORMALIZED = ("tops_1b", "tops_per_W_1b")


@dataclass(frozen=True)
class LayerCost:
    """What one layer takes for one inference.

    Attributes:
        name, kind: of the layer.
        device: name of its profile, or ``digital``.
        macs: MACs.
        bit_macs: MACs times bits of input times bits of weight; None where the weight's bits are
            not known (cells that hold any value).
        counts: how often each part works; None for a digital layer.
        energy_pJ, latency_ns, area_um2: what it comes to. Tiles of a layer work at the same time,
            its vectors one after the other.
    """

    name: str
    kind: str
    device: str
    macs: float
    bit_macs: float | None
    counts: Counts | None
    energy_pJ: Parts
    latency_ns: float
    area_um2: Parts


@dataclass(frozen=True)
class Cost(Result):
    """What one inference takes, layer by layer, and in all.

    Attributes:
        profile, overrides: the device, and what was set by hand.
        inputs: so many inputs were looked at, and the programmed weights; 0 where both are taken to
            be uniform.
        layers: in the order of the inference.
        warnings: formulas used beyond their range, and numbers that nobody gave.
        checkpoint_sha256: hash of the weights of the run that it is of; empty for a model.
    """

    profile: str
    overrides: tuple[str, ...]
    inputs: int
    layers: tuple[LayerCost, ...]
    warnings: tuple[str, ...]
    checkpoint_sha256: str = ""

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
        """Time from one inference to the next where every layer works on another input: that of the
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
        """1-bit-normalized :attr:`tops_per_W`."""
        return None if self.bit_ops is None else self.bit_ops / self.energy_pJ.total

    @property
    def tops_1b(self) -> float | None:
        """1-bit-normalized :attr:`tops`."""
        return None if self.bit_ops is None else self.bit_ops / self.latency_ns * 1e-3

    def derived(self) -> dict[str, Any]:
        """Totals of all layers."""
        totals = {name: getattr(self, name) for name in (*_RATES, *_NORMALIZED)}
        energy, area = self.energy_pJ, self.area_um2
        totals["tops_per_mm2"] = self.tops_per_mm2 if area.total else None
        for name, parts in (("energy_pJ", energy), ("area_um2", area)):
            totals[name] = {**asdict(parts), "total": parts.total}
        return {"totals": totals}

    def table(self) -> Iterator[Sequence[object]]:
        """One row for each layer and one for all: counts, energies in pJ, latency, areas."""
        counted = [name for name in Counts.__dataclass_fields__ if name != "macs"]
        energies = [f"energy_{part}_pJ" for part in PARTS]
        areas = [f"area_{part}_um2" for part in PARTS[:-1]]
        heading = ["layer", "kind", "device", "macs", *counted, *energies, "energy_pJ"]
        yield [*heading, "latency_ns", *areas, "area_um2"]
        for layer in self.layers:
            counts = asdict(layer.counts) if layer.counts else {}
            numbers = [layer.macs, *(counts.get(name, "") for name in counted)]
            yield [layer.name, layer.kind, layer.device, *numbers, *_sums(layer)]
        yield ["all", "", self.profile, self.macs, *[""] * len(counted), *_sums(self)]

    def sheet(self) -> Sheet:
        """One row for each layer and one for all: energies in nJ."""
        device = ", ".join((self.profile, *self.overrides))
        known = "" if self.inputs else ", uniform weights and inputs"
        caption = f"One inference on {device}{known}: energies in nJ, 1 MAC = 2 operations"
        counted = ("MACs", "tiles", "vectors")
        headings = ("layer", *counted, *PARTS, "energy", "%", "µs", "mm²")
        rows = [
            (layer_name(layer.name), *_counted(layer), *_priced(layer, self))
            for layer in self.layers
        ]
        rows.append(("all", f"{self.macs:,}", "", "", *_priced(self, self)))
        return Sheet(caption, headings, tuple(rows), range(1, len(headings)))

    def rates(self) -> Sheet:
        """How much is computed for a joule, a second and an area."""

        def shown(value: float | None) -> str:
            return "-" if value is None or math.isnan(value) else f"{value:.4g}"

        rows = (
            ("efficiency", shown(self.tops_per_W), shown(self.tops_per_W_1b), "TOPS/W"),
            ("one input at a time", shown(self.tops), shown(self.tops_1b), "TOPS"),
            ("every layer at work", shown(self.tops_pipelined), "", "TOPS"),
            ("density", shown(self.tops_per_mm2), "", "TOPS/mm²"),
        )
        headings = ("", "as it is", "1-bit-normalized", "unit")
        return Sheet("Operations for energy, time and area", headings, rows, (1, 2))


def _sums(of: LayerCost | Cost) -> list[float]:
    """Energies, latency and areas, each with its parts first."""
    energy, area = of.energy_pJ, of.area_um2
    energies = [*(getattr(energy, part) for part in PARTS), energy.total]
    areas = [*(getattr(area, part) for part in PARTS[:-1]), area.total]
    return [*energies, of.latency_ns, *areas]


def _counted(layer: LayerCost) -> tuple[str, str, str]:
    counts = layer.counts
    if counts is None:
        return f"{layer.macs:,}", "digital", ""
    return f"{layer.macs:,}", f"{counts.tiles:,}", f"{counts.vectors:,}"


def _priced(of: LayerCost | Cost, whole: Cost) -> Iterator[str]:
    energy = of.energy_pJ
    for nJ in (*(getattr(energy, part) for part in PARTS), energy.total):
        yield f"{nJ * 1e-3:.3g}"
    yield f"{100 * energy.total / whole.energy_pJ.total:.3g}"
    yield f"{of.latency_ns * 1e-3:.3g}"
    yield f"{of.area_um2.total * 1e-6:.3g}"


def cost_of(
    model: nn.Module | Workload, x: Tensor | None = None, *, profile: Profile | None = None
) -> Cost:
    """What one inference of ``model`` takes: energy, time and area by layer.

    Nothing is evaluated but one digital forward pass, which a :class:`Workload` has behind it: for
    many devices, make one with :func:`workload_of` and give it here each time.

    Args:
        model: a converted model, or its workload.
        x: a batch of inputs, see :func:`workload_of`; only with a model.
        profile: the device; that of each layer by default.

    Raises:
        CimsimError: if ``x`` is missing or too much, or a layer does not fit the device.

    >>> import torch, cimsim
    >>> net = cimsim.convert(torch.nn.Linear(8, 4), "reram-wan-2022")
    >>> cost_of(net, torch.ones(1, 8)).macs
    32
    """
    if isinstance(model, Workload):
        if x is not None:
            raise CimsimError("a workload has met its inputs already; give it without them")
        work = model
    elif x is None:
        raise CimsimError("the cost of a model wants a batch of its inputs: cost_of(model, x)")
    else:
        work = workload_of(model, x)
    analog = [layer for layer in work.layers if isinstance(layer, AnalogWork)]
    devices = [profile or layer.profile for layer in analog]
    priced = {id(device): prices_of(device) for device in devices}
    logic = priced[id(devices[0])]  # of the digital layers too
    layers: list[LayerCost] = []
    prices: list[Prices] = []
    for layer in work.layers:
        if isinstance(layer, DigitalWork):
            prices.append(logic)
            layers.append(_digital(layer, logic))
        else:
            device = profile or layer.profile
            prices.append(priced[id(device)])
            layers.append(_analog(layer, device, prices[-1]))
    warnings = [text for rates in priced.values() for text in rates.warnings]
    total_ns = math.fsum(layer.latency_ns for layer in layers)
    return Cost(
        profile=", ".join(dict.fromkeys(device.name for device in devices)),
        overrides=tuple(dict.fromkeys(text for device in devices for text in device.overrides)),
        inputs=work.samples if all(layer.drive and layer.weight for layer in analog) else 0,
        layers=tuple(_leaking(*of, total_ns) for of in zip(layers, prices, strict=True)),
        warnings=tuple(dict.fromkeys(warnings)),
    )


def _analog(work: AnalogWork, device: Profile, prices: Prices) -> LayerCost:
    try:
        counts = count(work, device)
    except CimsimError as error:
        raise CimsimError(f"layer '{work.name}': {error}") from None
    power = read_power(work, device, counts.blocks)
    return LayerCost(
        name=work.name,
        kind=work.kind,
        device=device.name,
        macs=counts.macs,
        bit_macs=_bit_macs(counts, device),
        counts=counts,
        energy_pJ=Parts(
            array=_array_pJ(counts, power, device),
            dac=counts.dac_conversions * prices.dac.e_pJ,
            adc=counts.adc_conversions * prices.adc.e_pJ + counts.integrations * prices.e_cycle_pJ,
            digital=(counts.shift_adds + counts.adds) * prices.e_add_pJ
            + counts.multiplies * prices.e_multiply_pJ,
            buffer=counts.buffer_bits * prices.e_bit_pJ,
        ),
        latency_ns=_in_turn(counts) * _vector_ns(counts, prices),
        area_um2=_area_um2(counts, device, prices),
    )


def _in_turn(counts: Counts) -> float:
    """Vectors that one copy of a layer takes one after the other."""
    return counts.vectors if counts.copies == 1 else math.ceil(counts.vectors / counts.copies)


def _vector_ns(counts: Counts, prices: Prices) -> float:
    """Time of one vector: its pulses, and the conversions of the columns that share an ADC."""
    conversions_ns = counts.columns_per_adc * prices.t_conversion_ns
    if not counts.cycles:
        return counts.pulses * (prices.t_pulse_ns + conversions_ns)
    return counts.pulses * prices.t_pulse_ns + counts.cycles * prices.t_cycle_ns + conversions_ns


def _array_pJ(counts: Counts, power: ReadPower, device: Profile) -> float:
    """Cells, row and column lines, see :class:`cimsim.profile.CellRead`."""
    read, cell = (device.cost or CostRates()).read, device.cell
    reads = counts.vectors * counts.pulses
    if read.c_cell_fF is None:  # uS V^2 ns = fJ
        cells_fJ = power.conductance_uS * read.v_read_V**2 * read.t_read_ns
    else:
        cells_fJ = power.conductance_uS / cell.g_max_uS * read.v_read_V**2 * read.c_cell_fF
    along = device.array.columns * counts.devices
    rows_fJ = power.rows * along * read.c_row_fF * read.v_read_V**2
    charged = counts.column_lines * device.array.rows
    columns_fJ = charged * read.c_column_fF * read.v_read_V**2
    return reads * (cells_fJ + rows_fJ + columns_fJ) * 1e-3


def _area_um2(counts: Counts, device: Profile, prices: Prices) -> Parts:
    """Whole tiles, also what nothing lies on; and a buffer for the layer's inputs."""
    array = device.array
    adcs = math.ceil(array.columns / device.adc.columns_per_adc)
    return Parts(
        array=counts.tiles * array.rows * array.columns * counts.devices * prices.area_cell_um2,
        dac=counts.tiles * array.rows * prices.dac.area_um2,
        adc=counts.tiles * adcs * prices.adc.area_um2,
        digital=counts.tiles * adcs * prices.area_accumulator_um2,
        buffer=counts.held_bits * prices.area_bit_um2,
    )


def _digital(work: DigitalWork, prices: Prices) -> LayerCost:
    """Products in 8 bits; their logic's area is not known."""
    return LayerCost(
        name=work.name,
        kind=work.kind,
        device="digital",
        macs=work.macs,
        bit_macs=work.macs * IDEAL_BITS**2,
        counts=None,
        energy_pJ=Parts(
            digital=work.macs * prices.e_mac_pJ, buffer=work.moved * IDEAL_BITS * prices.e_bit_pJ
        ),
        latency_ns=work.macs / prices.macs_per_ns,
        area_um2=Parts(),
    )


def _bit_macs(counts: Counts, device: Profile) -> float | None:
    """MACs times the bits of both factors; the sign of a weight is a bit."""
    stated, levels = (device.cost or CostRates()).weight_bits, device.cell.levels
    if stated is None and levels is None:
        return None
    signed = device.array.mapping == "differential-pair"
    bits = stated or math.log2(levels or 1) * device.array.slices + signed
    return counts.macs * (device.dac.bits or IDEAL_BITS) * bits


def _leaking(layer: LayerCost, prices: Prices, total_ns: float) -> LayerCost:
    """The layer with what its circuits and cells leak while the whole inference lasts."""
    circuits_um2 = layer.area_um2.total - layer.area_um2.array
    cells = layer.area_um2.array / prices.area_cell_um2
    power = circuits_um2 * prices.leakage_pJ_per_um2_ns + cells * prices.leakage_pJ_per_cell_ns
    leakage_pJ = total_ns * power
    return replace(layer, energy_pJ=replace(layer.energy_pJ, leakage=leakage_pJ))
