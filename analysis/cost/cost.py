"""Compute energy, latency and area of a model's inference on a chip."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from torch import nn

from cimsim.analysis.cost.counts import count
from cimsim.analysis.cost.drive import IDEAL_BITS
from cimsim.analysis.cost.prices import Prices, prices_of
from cimsim.analysis.cost.reading import ReadPower, read_power
from cimsim.analysis.cost.result import Cost, Counts, LayerCost, Parts
from cimsim.analysis.cost.workload import AnalogWork, DigitalWork, Workload, workload_of
from cimsim.errors import CimsimError
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
    layers: list[LayerCost] = []
    prices: list[Prices] = []
    for layer in work.layers:
        if isinstance(layer, DigitalWork):
            prices.append(logic)
            layers.append(_digital(layer, logic))
        else:
            on = profile or layer.profile
            prices.append(priced[id(on)])
            layers.append(_analog(layer, on, prices[-1]))
    warnings = [text for rates in priced.values() for text in rates.warnings]
    total_ns = math.fsum(layer.latency_ns for layer in layers)
    return Cost(
        profile=", ".join(dict.fromkeys(each.name for each in profiles)),
        overrides=tuple(dict.fromkeys(text for each in profiles for text in each.overrides)),
        inputs=work.samples if all(layer.drive and layer.weight for layer in analog) else 0,
        layers=tuple(_leaking(*of, total_ns) for of in zip(layers, prices, strict=True)),
        warnings=tuple(dict.fromkeys(warnings)),
    )


def _analog(work: AnalogWork, profile: Profile, prices: Prices) -> LayerCost:
    try:
        counts = count(work, profile)
    except CimsimError as error:
        raise CimsimError(f"layer '{work.name}': {error}") from None
    power = read_power(work, profile, counts.blocks)
    return LayerCost(
        name=work.name,
        kind=work.kind,
        profile=profile.name,
        macs=counts.macs,
        bit_macs=_bit_macs(counts, profile),
        counts=counts,
        energy_pJ=Parts(
            array=_array_pJ(counts, power, profile),
            dac=counts.dac_conversions * prices.dac.e_pJ,
            adc=counts.adc_conversions * prices.adc.e_pJ + counts.integrations * prices.e_cycle_pJ,
            digital=(counts.shift_adds + counts.adds) * prices.e_add_pJ
            + counts.multiplies * prices.e_multiply_pJ,
            buffer=counts.buffer_bits * prices.e_bit_pJ,
        ),
        latency_ns=_in_turn(counts) * _vector_ns(counts, prices),
        area_um2=_area_um2(counts, profile, prices),
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


def _array_pJ(counts: Counts, power: ReadPower, profile: Profile) -> float:
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
    return reads * (cells_fJ + rows_fJ + columns_fJ) * 1e-3


def _area_um2(counts: Counts, profile: Profile, prices: Prices) -> Parts:
    """Whole tiles, unused cells included; and a buffer for the layer's inputs."""
    array = profile.array
    adcs = math.ceil(array.columns / profile.adc.columns_per_adc)
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
        profile="digital",
        macs=work.macs,
        bit_macs=work.macs * IDEAL_BITS**2,
        counts=None,
        energy_pJ=Parts(
            digital=work.macs * prices.e_mac_pJ, buffer=work.moved * IDEAL_BITS * prices.e_bit_pJ
        ),
        latency_ns=work.macs / prices.macs_per_ns,
        area_um2=Parts(),
    )


def _bit_macs(counts: Counts, profile: Profile) -> float | None:
    """MACs times the bits of both factors; the sign of a weight is a bit."""
    stated, levels = (profile.cost or CostRates()).weight_bits, profile.cell.levels
    if stated is None and levels is None:
        return None
    signed = profile.array.mapping == "differential-pair"
    bits = stated or math.log2(levels or 1) * profile.array.slices + signed
    return counts.macs * (profile.dac.bits or IDEAL_BITS) * bits


def _leaking(layer: LayerCost, prices: Prices, total_ns: float) -> LayerCost:
    """The layer with what its circuits and cells leak while the whole inference lasts."""
    circuits_um2 = layer.area_um2.total - layer.area_um2.array
    cells = layer.area_um2.array / prices.area_cell_um2
    power = circuits_um2 * prices.leakage_pJ_per_um2_ns + cells * prices.leakage_pJ_per_cell_ns
    leakage_pJ = total_ns * power
    return replace(layer, energy_pJ=replace(layer.energy_pJ, leakage=leakage_pJ))
