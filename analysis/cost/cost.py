"""Compute energy, latency and area of a model's inference on a chip."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

from torch import nn

from cimsim.analysis.cost.charges import Charge, Price, parts_of
from cimsim.analysis.cost.counts import count
from cimsim.analysis.cost.drive import IDEAL_BITS
from cimsim.analysis.cost.parts import Counts, LayerCost, Parts, PriceShare, Quantity
from cimsim.analysis.cost.prices import Prices, prices_of
from cimsim.analysis.cost.reading import ReadPower, read_power
from cimsim.analysis.cost.result import Cost
from cimsim.analysis.cost.workload import AnalogWork, DigitalWork, Workload, workload_of
from cimsim.errors import CimsimError
from cimsim.nn import Assignment
from cimsim.profile import CostRates, Profile


def cost_of(model: nn.Module | Workload, x: Any = None, *, profile: Profile | None = None) -> Cost:
    """Compute energy, time and area of one inference of ``model`` by layer.

    This runs one digital forward pass, which a :class:`Workload` has already done: for many
    profiles, make one with :func:`workload_of` and pass it here each time.

    Args:
        model: a converted model, or its workload.
        x: a batch of inputs, see :func:`workload_of`; only with a model.
        profile: profile of all layers; each layer's own by default.

    Raises:
        CimsimError: if ``x`` is missing or not needed, or a layer does not fit the profile.

    >>> import torch, cimsim
    >>> net = cimsim.convert(torch.nn.Linear(8, 4), "reram-wan-2022")
    >>> cost_of(net, torch.ones(1, 8)).macs
    32
    """
    if isinstance(model, Workload):
        if x is not None:
            raise CimsimError("a workload includes its inputs; leave x out")
        work = model
    elif x is None:
        raise CimsimError("the cost of a model needs a batch of its inputs: cost_of(model, x)")
    else:
        work = workload_of(model, x)
    analog = [layer for layer in work.layers if isinstance(layer, AnalogWork)]
    profiles = [profile or layer.profile for layer in analog]
    priced = {id(each): prices_of(each) for each in profiles}
    logic = priced[id(profiles[0])]  # of the digital layers too
    bills: list[_Bill] = []
    for layer in work.layers:
        if isinstance(layer, DigitalWork):
            bills.append(_digital(layer, profiles[0], logic))
        else:
            on = profile or layer.profile
            bills.append(_analog(layer, on, priced[id(on)]))
    total_ns = math.fsum(bill.layer.latency_ns for bill in bills)
    bills = [_leaking(bill, total_ns) for bill in bills]
    warnings = [text for rates in priced.values() for text in rates.warnings]
    unknown = {
        name: None
        for rates in priced.values()
        for name, price in (("DAC", rates.dac_um2), ("ADC", rates.adc_um2))
        if price is None
    }
    return Cost(
        profile=", ".join(dict.fromkeys(each.name for each in profiles)),
        overrides=tuple(dict.fromkeys(text for each in profiles for text in each.overrides)),
        inputs=work.samples if all(layer.drive and layer.weight for layer in analog) else 0,
        layers=tuple(bill.layer for bill in bills),
        warnings=tuple(dict.fromkeys(warnings)),
        prices=tuple(_shares(bills)),
        unknown_areas=tuple(unknown),
    )


def conditions_on(assignment: Assignment, own: Assignment) -> dict[str, Any]:
    """The fields of :class:`Cost` that state in what ``assignment`` differs from a subject's
    ``own`` profiles."""
    if assignment.profiles == own.profiles:
        return {}
    known = {text for profile in own.profiles for text in profile.overrides}
    texts = (text for profile in assignment.profiles for text in profile.overrides)
    changes = tuple(dict.fromkeys(text for text in texts if text not in known))
    same = changes and assignment.name == own.name
    return {"on": None if same else assignment.name, "changes": changes}


@dataclass(frozen=True)
class _Bill:
    """A layer's cost, and the charges that it consists of."""

    layer: LayerCost
    profile: Profile
    prices: Prices
    energy: tuple[Charge, ...]
    time: tuple[Charge, ...]
    area: tuple[Charge, ...]


def _shares(bills: Sequence[_Bill]) -> Iterator[PriceShare]:
    """Sum the charges of all layers by profile and price; those of nothing are left out."""
    sums: dict[tuple[str, Quantity, Price], tuple[float, float]] = {}
    quantities: tuple[Quantity, ...] = get_args(Quantity)
    for quantity in quantities:
        for bill in bills:
            for charge in getattr(bill, quantity):
                key = (bill.profile.name, quantity, charge.price)
                count, amount = sums.get(key, (0.0, 0.0))
                sums[key] = (count + charge.count, amount + charge.amount)
    for (profile, quantity, price), (count, amount) in sums.items():
        if amount:
            origin = (price.name, price.provenance)
            yield PriceShare(profile, quantity, *origin, count, amount, price.source)


def _analog(work: AnalogWork, profile: Profile, prices: Prices) -> _Bill:
    try:
        counts = count(work, profile)
    except CimsimError as error:
        raise CimsimError(f"layer '{work.name}': {error}") from None
    power = read_power(work, profile, counts.blocks)
    adds = counts.shift_adds + counts.adds
    energy = (
        *_array(counts, power, profile, prices),
        _times("dac", counts.dac_conversions, prices.dac_pJ),
        _times("adc", counts.adc_conversions, prices.adc_pJ),
        _times("adc", counts.integrations, prices.cycle_pJ),
        _times("digital", adds, prices.add_pJ),
        _times("digital", counts.multiplies, prices.multiply_pJ),
        _times("buffer", counts.buffer_bits, prices.bit_pJ),
    )
    time, area = tuple(_time(counts, prices)), _area(counts, profile, prices)
    layer = LayerCost(
        name=work.name,
        kind=work.kind,
        profile=profile.name,
        macs=counts.macs,
        bit_macs=_bit_macs(counts, profile),
        counts=counts,
        energy_pJ=parts_of(energy),
        latency_ns=math.fsum(charge.amount for charge in time),
        area_um2=parts_of(area),
    )
    return _Bill(layer, profile, prices, energy, time, area)


def _times(part: str, count: float, price: Price) -> Charge:
    return Charge(price, part, count, count * price.each)


def _in_turn(counts: Counts) -> float:
    """Vectors that one copy of a layer takes one after the other."""
    return counts.vectors if counts.copies == 1 else math.ceil(counts.vectors / counts.copies)


def _time(counts: Counts, prices: Prices) -> Iterator[Charge]:
    """Time of all vectors, one after the other: pulses, and conversions of the columns that share
    an ADC, after every pulse, or once for a vector whose bits are integrated in cycles."""
    vectors = _in_turn(counts)
    pulses = vectors * counts.pulses
    conversions = counts.columns_per_adc * (vectors if counts.cycles else pulses)
    yield _times("array", pulses, prices.read_ns)
    yield _times("array", pulses, prices.settle_ns)
    yield _times("adc", vectors * counts.cycles, prices.cycle_ns)
    yield _times("adc", conversions, prices.conversion_ns)


def _array(
    counts: Counts, power: ReadPower, profile: Profile, prices: Prices
) -> tuple[Charge, ...]:
    """Cells, row and column lines, see :class:`cimsim.profile.CellRead`."""
    read, cell = (profile.cost or CostRates()).read, profile.cell
    reads = counts.vectors * counts.pulses
    if read.c_cell_fF is None:  # uS V^2 ns = fJ
        cells_fJ = power.conductance_uS * read.v_read_V**2 * read.t_read_ns
    else:
        cells_fJ = power.conductance_uS / cell.g_max_uS * read.v_read_V**2 * read.c_cell_fF
    along = profile.array.columns * counts.devices
    rows_fJ = power.rows * along * read.c_row_fF * read.v_read_V**2
    charged = counts.column_lines * profile.array.rows
    columns_fJ = charged * read.c_column_fF * read.v_read_V**2
    return tuple(
        Charge(price, "array", reads * each, reads * each_fJ * 1e-3)
        for price, each, each_fJ in (
            (prices.cells, counts.cell_reads / reads, cells_fJ),
            (prices.rows, counts.dac_conversions / reads, rows_fJ),
            (prices.columns, counts.column_lines, columns_fJ),
        )
    )


def _area(counts: Counts, profile: Profile, prices: Prices) -> tuple[Charge, ...]:
    """Whole tiles, unused cells included; and a buffer for the layer's inputs."""
    array = profile.array
    adcs = counts.tiles * math.ceil(array.columns / profile.adc.columns_per_adc)
    rows = counts.tiles * array.rows
    converters = (("dac", rows, prices.dac_um2), ("adc", adcs, prices.adc_um2))
    return (
        _times("array", rows * array.columns * counts.devices, prices.cell_um2),
        *(_times(part, number, price) for part, number, price in converters if price is not None),
        _times("digital", adcs, prices.accumulator_um2),
        _times("buffer", counts.held_bits, prices.bit_um2),
    )


def _digital(work: DigitalWork, profile: Profile, prices: Prices) -> _Bill:
    """Products in 8 bits; their logic's area is not known."""
    energy = (
        _times("digital", work.macs, prices.mac_pJ),
        _times("buffer", work.moved * IDEAL_BITS, prices.bit_pJ),
    )
    time = _times("digital", work.macs, prices.mac_ns)
    layer = LayerCost(
        name=work.name,
        kind=work.kind,
        profile="digital",
        macs=work.macs,
        bit_macs=work.macs * IDEAL_BITS**2,
        counts=None,
        energy_pJ=parts_of(energy),
        latency_ns=time.amount,
        area_um2=Parts(),
    )
    return _Bill(layer, profile, prices, energy, (time,), ())


def _bit_macs(counts: Counts, profile: Profile) -> float | None:
    """MACs times the bits of both factors; the sign of a weight is a bit."""
    stated, levels = (profile.cost or CostRates()).weight_bits, profile.cell.levels
    if stated is None and levels is None:
        return None
    signed = profile.array.mapping == "differential-pair"
    bits = stated or math.log2(levels or 1) * profile.array.slices + signed
    return counts.macs * (profile.dac.bits or IDEAL_BITS) * bits


def _leaking(bill: _Bill, total_ns: float) -> _Bill:
    """The bill with what the layer's circuits and cells leak while the whole inference lasts."""
    layer, prices = bill.layer, bill.prices
    circuits_um2 = layer.area_um2.total - layer.area_um2.array
    cells = layer.area_um2.array / prices.cell_um2.each
    leaking = (
        _leakage(circuits_um2 * total_ns, prices.circuits_pJ_per_um2_ns),
        _leakage(cells * total_ns, prices.cells_pJ_per_ns),
    )
    energy = (*bill.energy, *leaking)
    generic_pJ = parts_of(energy, "generic")
    layer = replace(layer, energy_pJ=parts_of(energy), generic_pJ=generic_pJ)
    return replace(bill, layer=layer, energy=energy)


def _leakage(over: float, price: Price) -> Charge:
    """Leakage of an area, or of cells, over a time; it is not a number of operations."""
    return Charge(price, "leakage", 0, over * price.each)
