"""Every way to lay weights on cells and to send inputs computes the same product."""

import math
from dataclasses import replace
from itertools import product
from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from torch import Tensor

import cimsim
from cimsim.array import Array, ConverterRanges, ConvTiling, LinearTiling, Tiling
from cimsim.array.tiling import ConvGeometry
from cimsim.profile import ArraySpec, Profile, override_profile
from tests.building import device, gaussian

MAPPINGS = list(get_args(ArraySpec.model_fields["mapping"].annotation))
GEOMETRY = ConvGeometry(4, 6, (3, 3), (2, 1), (1, 1), (1, 1), 2)


def draw(*shape: int, seed: int = 0) -> Tensor:
    draws = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=draws, dtype=torch.float64)


def ranges(dac: float = 3.0, adc: float = 20.0) -> ConverterRanges:
    return ConverterRanges(torch.tensor(dac).double(), torch.tensor(adc).double())


def case(kind: str, rows: int) -> tuple[Tiling, Tensor, Tensor, Tensor]:
    """A tiling, an input, a weight and their digital product."""
    if kind == "linear":
        x, w = draw(7, 20), draw(5, 20, seed=1)
        return LinearTiling(20, rows), x, w, x @ w.T
    x, w = draw(2, 4, 6, 6), draw(6, 2, 3, 3, seed=1)
    return ConvTiling(GEOMETRY, rows), x, w, F.conv2d(x, w, None, (2, 1), (1, 1), (1, 1), 2)


def with_keys(profile: Profile, **keys: object) -> Profile:
    return override_profile(profile, {k.replace("__", "."): v for k, v in keys.items()})


@pytest.mark.parametrize(
    ("kind", "rows", "mapping", "slices", "scale"),
    list(product(["linear", "conv"], [512, 9], MAPPINGS, [1, 3], ["column", "tile", "layer"])),
)
def test_without_effects_it_is_the_product(
    kind: str, rows: int, mapping: str, slices: int, scale: str
) -> None:
    profile = with_keys(device(g_min_uS=3.0), array__mapping=mapping, array__weight_scale=scale)
    if slices > 1:  # 41^3 states are so fine that they hardly round
        profile = with_keys(profile, cell__levels=41, array__slices=slices)
    tiling, x, w, expected = case(kind, rows)
    array = Array(profile, tiling)
    read = array.mvm(x, array.chip(w, 0), ranges(), 0)
    tolerance = 1e-9 if slices == 1 else 20 * w.abs().max().item() / 41**3
    assert torch.allclose(read.y, expected, rtol=0, atol=tolerance)
    assert torch.allclose(array.programmed_weight(array.chip(w, 0)), w, rtol=0, atol=tolerance)


@pytest.mark.parametrize("kind", ["linear", "conv"])
@pytest.mark.parametrize("mapping", MAPPINGS)
def test_serial_bits_add_up_to_the_coded_input(kind: str, mapping: str) -> None:
    base = with_keys(device(dac=5, g_min_uS=3.0), array__mapping=mapping)
    tiling, x, w, _ = case(kind, 9)
    whole, serial = (
        Array(profile, tiling) for profile in (base, with_keys(base, dac__bit_serial=True))
    )
    at_once, bit_by_bit = (a.mvm(x, a.chip(w, 0), ranges(), 0) for a in (whole, serial))
    assert torch.equal(at_once.codes, bit_by_bit.codes)
    assert torch.allclose(at_once.y, bit_by_bit.y, atol=1e-12)


@pytest.mark.parametrize("mapping", MAPPINGS)
def test_slices_and_serial_bits_convert_each_on_its_own(mapping: str) -> None:
    """Against a loop over slices and bits with one ADC conversion for each."""
    profile = with_keys(
        device(dac=4, adc=6, g_min_uS=3.0),
        array__mapping=mapping,
        cell__levels=4,
        array__slices=2,
        dac__bit_serial=True,
        adc__range_per="layer",
    )
    x, w = draw(7, 20), draw(5, 20, seed=1)
    array = Array(profile, LinearTiling(20, 512))
    chip = array.chip(w, 0)
    r = ranges(2.0, 9.0)
    got = array.mvm(x, chip, r, 0).y

    codes = (x / (2.0 / 7)).clamp(-7, 7).round()
    step = 9.0 / 31
    full = array.mapping.relative(array.mapping.conductances(w.unsqueeze(0) / scale_of(w)))[0]
    expected = torch.zeros_like(got)
    for bit in range(3):
        plane = codes.sign() * ((codes.abs() // 2**bit) % 2)
        z = plane @ full.T
        if mapping == "offset-column":
            z = z[:, :-1] - z[:, -1:]
        q = (z / step).clamp(-32, 31).round() * step
        q = q - plane.sum(1, keepdim=True) * array.mapping.digital_offset
        for index, part in enumerate(array.mapping.significance()):
            expected += 2**bit * part * q[:, index * 5 : index * 5 + 5]
    assert torch.allclose(got, expected * scale_of(w)[0].T * 2.0 / 7, atol=1e-12)


def scale_of(w: Tensor) -> Tensor:
    return w.abs().amax(1, keepdim=True).unsqueeze(0)


def test_the_reference_column_is_noisy_and_shared() -> None:
    """All columns of an offset mapping lose the same noisy reference current: they correlate."""
    profile = with_keys(device(read=[gaussian(0.05)]), array__mapping="offset-column")
    w = draw(2, 20, seed=1)
    x = draw(1, 20).expand(20_000, 20).contiguous()
    array = Array(profile, LinearTiling(20, 512))
    y = array.mvm(x, array.chip(w, 0), ranges(), 0).y / w.abs().amax(1)
    noise = y - y.mean(0)
    one_cell = 0.05 * 25 / (25 / 2) * x[0].norm()
    spread = math.sqrt(2) * one_cell.item()
    assert noise.std(0).tolist() == pytest.approx([spread, spread], rel=0.03)
    assert torch.corrcoef(noise.T)[0, 1].item() == pytest.approx(0.5, abs=0.03)


def test_a_digital_reference_is_exact() -> None:
    profile = with_keys(device(read=[gaussian(0.05)]), array__mapping="single-device")
    w = draw(2, 20, seed=1)
    x = draw(1, 20).expand(20_000, 20).contiguous()
    array = Array(profile, LinearTiling(20, 512))
    y = array.mvm(x, array.chip(w, 0), ranges(), 0).y / w.abs().amax(1)
    noise = y - y.mean(0)
    assert torch.corrcoef(noise.T)[0, 1].abs().item() < 0.03


def test_a_range_for_each_tile() -> None:
    profile = with_keys(device(adc=8, rows=10), adc__range_per="tile")
    array = Array(profile, LinearTiling(20, 10))
    w = torch.ones(1, 20, dtype=torch.float64)
    x = torch.ones(1, 20, dtype=torch.float64)
    for limits, expected in (([3.0, 20.0], 13.0), ([20.0, 4.0], 14.0)):
        r = ConverterRanges(torch.tensor(1.0), torch.tensor(limits).double())
        y = array.mvm(x, array.chip(w, 0), r, 0).y
        assert y.item() == pytest.approx(expected, abs=0.1)


TELEGRAPH = {"kind": "telegraph", "share_of_cells": 0.3, "step_of_g": 0.4, "occupancy": 0.25}


@pytest.mark.parametrize("kind", ["linear", "conv"])
@pytest.mark.parametrize("mapping", MAPPINGS)
def test_telegraph_noise_has_two_states_for_a_single_trap(kind: str, mapping: str) -> None:
    """With all weights but one column's at zero input, one trap: a scaled Bernoulli variable."""
    profile = with_keys(
        device(read=[{**TELEGRAPH, "share_of_cells": 1.0}], g_min_uS=0.0), array__mapping=mapping
    )
    n = 4000
    if kind == "linear":
        tiling: Tiling = LinearTiling(3, 512)
        x, w = torch.zeros(n, 3).double(), torch.ones(1, 3).double()
        x[:, 1] = 2.0
    else:
        tiling = ConvTiling(ConvGeometry(1, 1, (1, 3), (1, 1), (0, 0), (1, 1), 1), 512)
        x, w = torch.zeros(n, 1, 1, 3).double(), torch.ones(1, 1, 1, 3).double()
        x[..., 1] = 2.0
    array = Array(profile, tiling)
    y = array.mvm(x, array.chip(w, 0), ranges(), 0).y.flatten()
    if mapping == "offset-column":  # the reference cell has a trap too, of half the size
        assert len(y.unique().round(decimals=9).unique()) == 4
        return
    unit = 1.0 if mapping == "differential-pair" else 2.0  # of a cell at g_max
    low, high = 2.0 - 2.0 * unit * 0.4 * 0.75, 2.0 + 2.0 * unit * 0.4 * 0.25
    values = y.unique().round(decimals=9).unique()
    assert values.tolist() == pytest.approx([low, high])
    share = (y < 2.0).double().mean().item()
    assert share == pytest.approx(0.25, abs=4 * math.sqrt(0.25 * 0.75 / n))


def test_telegraph_noise_of_a_column_is_that_of_its_cells() -> None:
    """Against drawing every cell for every read (KS test), from the chip's own traps."""
    from cimsim.physics import telegraph_step_uS
    from cimsim.seeds import generator

    profile = device(read=[TELEGRAPH])
    array = Array(profile, LinearTiling(20, 512))
    x, w = draw(1, 20), draw(3, 20, seed=1)
    n = 4000
    fast = array.mvm(x.expand(n, 20).contiguous(), array.chip(w, 5), ranges(), 0).y
    g = array.mapping.conductances(w.unsqueeze(0) / scale_of(w))
    step = telegraph_step_uS(profile.cell.read_noise[0], g, generator(5, "telegraph", 0))
    filled = torch.rand(n, *g.shape, generator=torch.Generator().manual_seed(3)).double() < 0.25
    cells = g + step * (0.25 - filled.double())
    slow = torch.einsum("ntoi,i->no", (cells[:, 0] - cells[:, 1]) / 25.0, x[0]) * w.abs().amax(1)
    # The values are few and must be equal to the last bit, or else the test sees two sets of them.
    fast, slow = fast.round(decimals=9), slow.round(decimals=9)
    for column in range(3):
        assert stats.ks_2samp(fast[:, column].numpy(), slow[:, column].numpy()).pvalue > 1e-3
    gaussian_like = fast[:, 0].mean() + fast[:, 0].std() * draw(n)
    assert stats.ks_2samp(fast[:, 0].numpy(), gaussian_like.numpy()).pvalue < 1e-3


@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_cells_that_bend_with_voltage(kind: str) -> None:
    """A cubic law by hand: I = g (V - 0.25 V^3) at 0.5 V full scale, in a pair."""
    cubic = {
        "kind": "polynomial",
        "v_read_V": 0.5,
        "g_ref_uS": 1.0,
        "a2_uA_per_V2": {"kind": "polynomial", "coefficients": [0.0]},
        "a3_uA_per_V3": {"kind": "polynomial", "coefficients": [0.0, -0.25]},
        "source": "made up for a test",
    }
    profile = with_keys(device(dac=12), cell__iv=cubic)
    tiling, x, w, _ = case(kind, 9)
    array = Array(profile, tiling)
    peak = x.abs().max().item()
    read = array.mvm(x, array.chip(w, 0), ranges(peak), 0)
    volts = 0.5 * x / peak
    bent = (volts - 0.25 * volts**3) / 0.5 * peak
    expected = (
        bent @ w.T if kind == "linear" else F.conv2d(bent, w, None, (2, 1), (1, 1), (1, 1), 2)
    )
    assert torch.allclose(read.y, expected, atol=0.02)
    straight = Array(device(dac=12), tiling)
    assert not torch.allclose(
        straight.mvm(x, straight.chip(w, 0), ranges(peak), 0).y, expected, atol=0.02
    )


# Wires.

PASSIVE = {"kind": "nodal", "r_word_ohm": 20.0, "r_bit_ohm": 30.0, "source": "made up for a test"}
GATED = {**PASSIVE, "cells": "gated", "r_word_ohm": 0.0, "r_sink_ohm": 100.0}


@pytest.mark.parametrize("kind", ["linear", "conv"])
@pytest.mark.parametrize("mapping", MAPPINGS)
def test_wires_of_no_resistance_change_nothing(kind: str, mapping: str) -> None:
    base = with_keys(device(dac=4, g_min_uS=1.0), array__mapping=mapping, dac__bit_serial=True)
    tiling, x, w, _ = case(kind, 9)
    plain = Array(base, tiling)
    expected = plain.mvm(x, plain.chip(w, 0), ranges(), 0).y
    for cells in ("passive", "gated"):
        wires = {"kind": "nodal", "cells": cells, "source": "made up for a test"}
        array = Array(with_keys(base, wires=wires), tiling)
        assert torch.allclose(array.mvm(x, array.chip(w, 0), ranges(), 0).y, expected, atol=1e-9)


def test_passive_wires_are_the_nodal_solution_of_each_crossbar() -> None:
    from cimsim.circuits import effective_conductance

    profile = with_keys(device(g_min_uS=1.0, rows=10), wires=PASSIVE, array__columns=3)
    array = Array(profile, LinearTiling(20, 10))
    x, w = draw(7, 20), draw(5, 20, seed=1)
    y = array.mvm(x, array.chip(w, 0), ranges(), 0).y
    cells = array.tiling.to_cells(w)
    scale = cells.abs().amax(2, keepdim=True)
    g = array.mapping.conductances(cells / scale)
    expected = torch.zeros_like(y)
    for tile, columns in product(range(2), (slice(0, 3), slice(3, 5))):
        crossbars = [
            effective_conductance(
                g[device_, tile, columns].T * 1e-6, r_word_ohm=20.0, r_bit_ohm=30.0
            )
            for device_ in (0, 1)
        ]
        rows = x[:, 10 * tile : 10 * tile + 10]
        current = rows @ (crossbars[0] - crossbars[1]) * 1e6 / 24.0
        expected[:, columns] += current * scale[tile, columns, 0]
    assert torch.allclose(y, expected, rtol=1e-9)
    assert not torch.allclose(y, x @ w.T, rtol=1e-3)


def test_gated_wires_are_a_ladder_of_the_rows_that_are_on() -> None:
    profile = with_keys(device(g_min_uS=1.0, dac=3, rows=10), dac__bit_serial=True, wires=GATED)
    array = Array(profile, LinearTiling(6, 10))
    x, w = draw(3, 6), draw(2, 6, seed=1)
    y = array.mvm(x, array.chip(w, 0), ranges(1.5), 0).y
    scale = w.abs().amax(1, keepdim=True)
    g = array.mapping.conductances((w / scale).unsqueeze(0))[:, 0] * 1e-6

    def column(on: Tensor, g_S: Tensor) -> float:
        """One bit line: from the far end to the sink, cell by cell."""
        total = 0.0
        for row in range(6):
            total += g_S[row].item() * on[row].item()
            total = total / (1 + total * (30.0 if row < 5 else 130.0))
        return total

    codes = (x / 0.5).clamp(-3, 3).round()
    expected = torch.zeros_like(y)
    for vector, output, bit in product(range(3), range(2), range(2)):
        plane = codes[vector].sign() * ((codes[vector].abs() // 2**bit) % 2)
        for sign, device_ in product((1, -1), (0, 1)):
            current = column((plane == sign).double(), g[device_, output])
            expected[vector, output] += (
                2**bit * sign * (1 - 2 * device_) * current * 1e6 / 24.0 * 0.5
            )
    assert torch.allclose(y, expected * scale.T, rtol=1e-9)


def test_a_gradient_comes_through_the_wires() -> None:
    profile = with_keys(device(g_min_uS=1.0), wires=PASSIVE)
    array = Array(profile, LinearTiling(6, 10))
    w = draw(3, 6, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda w: array.effective_weight(w, 0), w)


# Drift compensation.


@pytest.mark.parametrize("probe", ["exact", "measured"])
def test_compensation_by_column_undoes_what_each_column_lost(probe: str) -> None:
    nu = {"kind": "table", "r": [0.0, 0.02, 1.0], "values": [0.0, 0.1, 0.02]}
    drift = {
        "kind": "power-law",
        "t0_s": 20.0,
        "g_ref_uS": 25.0,
        "nu_mean": nu,
        "nu_std": {"kind": "polynomial", "coefficients": [0.0]},
    }
    w = draw(4, 4096, seed=1)
    w[1] = w[1].sign() * w[1].abs().max()  # everything at g_max drifts least
    errors = {}
    for compensation in ("none", "global", "per-column"):
        profile = device(drift=[drift], compensation=compensation, rows=4096)
        if compensation != "none":
            profile = with_keys(profile, array__drift_probe=probe, array__probe_vectors=64)
        array = Array(profile, LinearTiling(4096, 4096))
        held = array.programmed_weight(array.chip(w, 0, 86400.0))
        gains = held.abs().sum(1) / w.abs().sum(1)
        errors[compensation] = (gains - 1).abs().max().item()
    assert errors["none"] > 0.15
    assert errors["global"] < errors["none"]
    assert errors["per-column"] < (1e-9 if probe == "exact" else 0.1)


def test_a_measured_probe_sees_the_read_noise() -> None:
    profile = with_keys(
        device(
            drift=[
                {
                    "kind": "log-relaxation",
                    "t0_s": 1.0,
                    "shift_uS": -0.1,
                    "sigma0_uS": 0.0,
                    "slope_uS": 0.0,
                }
            ],
            read=[gaussian(0.3)],
            compensation="per-column",
        ),
        array__drift_probe="measured",
        array__probe_vectors=1,
    )
    w = draw(4, 20, seed=1)
    array = Array(profile, LinearTiling(20, 512))
    exact = Array(with_keys(profile, array__drift_probe="exact"), array.tiling)
    found = array.chip(w, 0, 3600.0).scale
    assert not torch.allclose(found, exact.chip(w, 0, 3600.0).scale, rtol=1e-2)
    assert torch.equal(found, array.chip(w, 0, 3600.0).scale)


# Faults and converter errors, on whole layers.


def test_dead_columns_of_both_cells_give_nothing() -> None:
    dead = {"kind": "dead-lines", "column_rate": 1.0, "source": "made up for a test"}
    profile = with_keys(device(g_min_uS=1.0, read=[gaussian(0.1)]), cell__faults=[dead])
    tiling, x, w, _ = case("linear", 512)
    array = Array(profile, tiling)
    y = array.mvm(x, array.chip(w, 0), ranges(), 0).y
    assert torch.equal(y, torch.zeros_like(y))


def test_cells_on_open_lines_have_no_nonlinear_current_either() -> None:
    """A law whose bend does not vanish without conductance."""
    flat = {"kind": "polynomial", "coefficients": [5.0]}
    bent = {"kind": "polynomial", "v_read_V": 0.2, "g_ref_uS": 25.0, "source": "a test"}
    bent |= {"a2_uA_per_V2": flat, "a3_uA_per_V3": flat}
    dead = {"kind": "dead-lines", "column_rate": 1.0, "source": "made up for a test"}
    profile = with_keys(device(g_min_uS=1.0, dac=6), array__mapping="single-device")
    tiling, x, w, _ = case("linear", 512)
    outputs = []
    for iv in (None, bent):
        array = Array(with_keys(profile, cell__faults=[dead], cell__iv=iv), tiling)
        outputs.append(array.mvm(x, array.chip(w, 0), ranges(), 0).y)
    assert torch.allclose(*outputs, atol=1e-12)


@pytest.mark.parametrize("kind", ["linear", "conv"])
@pytest.mark.parametrize("architecture", ["sar", "ramp", "pipeline"])
def test_converter_tables_without_errors_are_the_plain_adc(kind: str, architecture: str) -> None:
    size = {"sar": "sigma_unit", "ramp": "sigma_step", "pipeline": "sigma_gain"}[architecture]
    error = {"kind": architecture, size: 0.0, "source": "made up for a test"}
    tiling, x, w, _ = case(kind, 9)
    plain, table = (
        Array(profile, tiling)
        for profile in (device(adc=6), with_keys(device(adc=6), adc__errors=[error]))
    )
    one, other = (a.mvm(x, a.chip(w, 0), ranges(3.0, 6.0), 0) for a in (plain, table))
    assert torch.allclose(one.y, other.y)
    worse = with_keys(table.profile, **{f"adc__errors__0__{size}": 0.05})
    array = replace(table, profile=worse)
    noisy = array.mvm(x, array.chip(w, 0), ranges(3.0, 6.0), 0)
    assert not torch.allclose(noisy.y, one.y)
    assert (noisy.y - one.y).abs().max() < 2.0


def test_gated_cells_bend_at_full_voltage() -> None:
    """A bit is all or nothing, so a bent law is one factor: sinh(k v) / (k v)."""
    sinh = {"kind": "sinh", "v_read_V": 0.5, "k_per_V": 3.0, "source": "made up for a test"}
    wires = {**GATED, "r_bit_ohm": 0.0, "r_sink_ohm": 0.0}
    straight = with_keys(device(dac=4), dac__bit_serial=True, wires=wires)
    bent = with_keys(straight, cell__iv=sinh)
    x, w = draw(5, 6), draw(3, 6, seed=1)
    one, other = (
        a.mvm(x, a.chip(w, 0), ranges(), 0).y
        for a in (Array(profile, LinearTiling(6, 10)) for profile in (straight, bent))
    )
    assert torch.allclose(other, one * math.sinh(1.5) / 1.5)


def test_a_supply_line_of_gated_cells_takes_its_share() -> None:
    profile = with_keys(device(dac=4), dac__bit_serial=True, wires=GATED)
    supplied = with_keys(profile, wires__r_supply_ohm=200.0)
    x, w = draw(5, 6).abs(), draw(3, 6, seed=1).abs()
    one, other = (
        a.mvm(x, a.chip(w, 0), ranges(), 0).y
        for a in (Array(each, LinearTiling(6, 10)) for each in (profile, supplied))
    )
    assert (other.sum(1) < one.sum(1)).all()


def test_a_last_tile_that_is_not_full_converts_on_its_own() -> None:
    """Ten inputs on tiles of eight: the ADC clips eight ones and two ones, each by itself."""
    from cimsim.nn import AnalogLayer

    profile = with_keys(device(adc=8, rows=8), array__row_split="fill")
    digital = torch.nn.Linear(10, 1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        digital.weight.fill_(1.0)
    layer = cimsim.convert(digital, profile).eval()
    assert isinstance(layer, AnalogLayer)
    with torch.no_grad():
        layer.adc_range.fill_(4.0)
        y = layer(torch.ones(1, 10, dtype=torch.float64))
    assert y.item() == pytest.approx(4.0 + 2.0, abs=4 / 127)


def test_every_tile_subtracts_a_reference_column_of_its_own() -> None:
    from cimsim.circuits import effective_conductance

    profile = with_keys(
        device(g_min_uS=1.0), wires=PASSIVE, array__columns=3, array__mapping="offset-column"
    )
    array = Array(profile, LinearTiling(8, 512))
    x, w = draw(7, 8), draw(5, 8, seed=1)
    y = array.mvm(x, array.chip(w, 0), ranges(), 0).y
    scale = w.abs().amax(1, keepdim=True)
    g = array.mapping.conductances((w / scale).unsqueeze(0))[0, 0] * 1e-6
    expected = torch.zeros_like(y)
    tiles = g.split(3)  # of two weights and a reference
    for columns, tile in zip(([0, 1], [2, 3], [4]), tiles, strict=True):
        seen = effective_conductance(tile.T, r_word_ohm=20.0, r_bit_ohm=30.0)
        net = x @ (seen[:, :-1] - seen[:, -1:]) * 1e6 / 12.0
        expected[:, columns] = net * scale[columns, 0]
    assert torch.allclose(y, expected, rtol=1e-9)


@pytest.mark.parametrize("mapping", ["differential-pair", "offset-column", "single-device"])
@pytest.mark.parametrize("columns", [64, 33, 17, 16, 4, 2])
def test_a_dead_row_is_dead_in_all_columns_of_its_tiles(mapping: str, columns: int) -> None:
    """Also in the reference: otherwise, the current of its cell is left over."""
    dead = {"kind": "dead-lines", "row_rate": 0.4}
    held = columns - (mapping == "offset-column")
    profile = cimsim.load_profile(
        "ideal", {"array.mapping": mapping, "array.columns": columns, "cell.faults": [dead]}
    )
    weight = torch.rand(32, 10, generator=torch.Generator().manual_seed(0)) + 0.5
    digital = torch.nn.Linear(10, 32, bias=False)
    with torch.no_grad():
        digital.weight.copy_(weight)
        layer = cimsim.program(cimsim.calibrate(cimsim.convert(digital, profile), [weight]), 3)
        by_row = layer(torch.eye(10))
    if mapping == "single-device":  # the middle is subtracted digitally, dead or not
        by_row = by_row + weight.amax(1)
    results = set()
    for outputs, own in zip(by_row.split(held, 1), weight.split(held), strict=True):
        for row, output in enumerate(outputs):
            full = own[:, row] + (own.amax(1) if mapping == "single-device" else 0.0)
            expected = full if output.norm() > 0.1 else torch.zeros_like(full)
            assert torch.allclose(output, expected, atol=1e-5)
            results.add(bool(expected.any()))
    assert results == {True, False}


@pytest.mark.parametrize("mapping", ["differential-pair", "offset-column"])
@pytest.mark.parametrize("columns", [64, 9, 8, 4])
def test_an_entry_of_a_fault_map_changes_its_column_of_every_tile(
    mapping: str, columns: int
) -> None:
    held = columns - (mapping == "offset-column")
    fault = {"kind": "map", "cells": [[1, 2, 0, 3.0]]}
    profile = cimsim.load_profile(
        "ideal", {"array.mapping": mapping, "array.columns": columns, "cell.faults": [fault]}
    )
    digital = torch.nn.Linear(6, 8, bias=False)
    x = torch.eye(6)
    with torch.no_grad():
        layer = cimsim.program(cimsim.calibrate(cimsim.convert(digital, profile), [x]), 0)
        change = (layer(x) - digital(x)).abs() > 1e-5
    assert change.nonzero().tolist() == [[1, column] for column in range(2, 8, held)]


@pytest.mark.parametrize("outputs", [3, 7, 8, 20])
def test_the_reference_is_the_last_column_for_a_fault_map(outputs: int) -> None:
    fault = {"kind": "map", "cells": [[1, 7, 0, 3.0]]}
    profile = cimsim.load_profile(
        "ideal", {"array.mapping": "offset-column", "array.columns": 8, "cell.faults": [fault]}
    )
    digital = torch.nn.Linear(6, outputs, bias=False)
    x = torch.eye(6)
    with torch.no_grad():
        layer = cimsim.program(cimsim.calibrate(cimsim.convert(digital, profile), [x]), 0)
        change = (layer(x) - digital(x)).abs() > 1e-5
    assert change[1].all()
    assert change.sum() == outputs


def test_an_entry_of_a_fault_map_names_any_cell_of_several_pairs() -> None:
    pairs = {"significance": [4.0, 1.0]}
    digital = torch.nn.Linear(6, 8, bias=False)
    x = torch.eye(6)
    for cell in range(4):
        fault = {"kind": "map", "cells": [[1, 2, cell, 3.0]]}
        profile = cimsim.load_profile("ideal", {"array.pairs": pairs, "cell.faults": [fault]})
        with torch.no_grad():
            layer = cimsim.program(cimsim.calibrate(cimsim.convert(digital, profile), [x]), 0)
            change = layer(x) - digital(x)
        assert (change.abs() > 1e-5).nonzero().tolist() == [[1, 2]]


def test_a_tile_of_one_column_has_no_room_for_its_reference() -> None:
    with pytest.raises(cimsim.CimsimError, match="requires tiles of at least 2 columns"):
        cimsim.load_profile("ideal", {"array.columns": 1, "array.mapping": "offset-column"})
