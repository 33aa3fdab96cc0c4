"""Energy, latency and area, computed by hand for small layers; and what is kept of them."""

from __future__ import annotations

import csv
import json
from dataclasses import astuple
from pathlib import Path
from typing import cast

import pytest
import torch
from torch import nn

import cimsim
from cimsim.analysis.cost import STUDY, Cost, Parts, cost_of, workload_of
from cimsim.analysis.shown import write_result
from cimsim.array.chip import program_and_age
from cimsim.errors import CimsimError
from cimsim.nn import AnalogLayer
from cimsim.profile import Profile, load_profile

SIMPLE = {
    "cost": {
        "node_nm": 100.0,
        "v_dd_V": 1.0,
        "leakage_mW_per_mm2": 1000.0,
        "weight_bits": 4,
        "read": {"v_read_V": 0.5, "t_read_ns": 4.0, "t_settle_ns": 6.0, "c_row_fF": 3.0},
        "dac": {"kind": "measured", "e_dac_pJ": 0.5, "area_um2": 10.0},
        "adc": {"kind": "measured", "e_adc_pJ": 2.0, "area_um2": 100.0, "rate_MHz": 100.0},
        "digital": {
            **{"e_add_pJ": 0.1, "e_multiply_pJ": 1.0, "e_mac_pJ": 0.3, "macs_per_ns": 10.0},
            **{"area_accumulator_um2": 50.0, "at_node_nm": 100.0, "at_v_V": 1.0},
        },
        "buffer": {"e_bit_pJ": 0.01, "area_bit_um2": 0.5, "at_node_nm": 100.0, "at_v_V": 1.0},
    },
    "array": {"rows": 2, "columns": 4},
    "adc": {"bits": 8, "columns_per_adc": 2},
}


def chip(**changes: object) -> Profile:
    flat: dict[str, object] = {}
    for section, keys in SIMPLE.items():
        for key, value in keys.items():
            inner = value.items() if isinstance(value, dict) and "kind" not in value else None
            for name, number in inner or [("", value)]:
                flat[".".join(filter(None, (section, key, name)))] = number
    return load_profile("pcm-ibm-2020", flat | changes)


def of_shape(device: Profile) -> Cost:
    """A layer of 3 inputs and 2 outputs, its weights and inputs unknown."""
    layer = cimsim.convert(nn.Linear(3, 2, device="meta"), device)
    return cost_of(layer, torch.zeros(1, 3, device="meta"))


def test_one_layer_by_hand() -> None:
    # 3 rows over two tiles of 2 x 4 pairs; uniform inputs (u^2 = 1/3) and weights (G = 25/4 uS).
    found = of_shape(chip())
    cells_fJ = 12 * (25 / 4) / 3 * 0.25 * 4.0  # cells x uS x V^2 x ns
    rows_fJ = 3 / 3 * (4 * 2) * 3.0 * 0.25  # rows x cells along each x fF x V^2
    assert found.energy_pJ.array == pytest.approx((cells_fJ + rows_fJ) * 1e-3)
    assert found.energy_pJ.dac == pytest.approx(3 * 0.5)
    assert found.energy_pJ.adc == pytest.approx(2 * 2 * 2.0)  # 2 columns on 2 tiles
    assert found.energy_pJ.digital == pytest.approx(0.1 * (2 + 2) + 4 * 1.0)
    assert found.energy_pJ.buffer == pytest.approx(0.01 * 8 * (3 + 2))
    assert found.latency_ns == 4 + 6 + 2 * 10  # two columns share an ADC
    # Two tiles: cells of 48 F^2, 2 rows' DACs, an ADC and accumulator for every 2 of 4 columns.
    assert found.area_um2.array == pytest.approx(2 * 16 * 48 * 0.01)
    assert found.area_um2.dac == 2 * 2 * 10
    assert (found.area_um2.adc, found.area_um2.digital) == (2 * 2 * 100, 2 * 2 * 50)
    assert found.area_um2.buffer == 8 * 3 * 0.5
    # 1000 mW/mm^2 are 1 mW for 1000 um^2, and 1 mW for 1 ns is 1 pJ.
    leaking_um2 = 40 + 400 + 200 + 12
    assert found.energy_pJ.leakage == pytest.approx(leaking_um2 * 1e-3 * 30)
    assert (found.macs, found.ops) == (6, 12)
    assert found.tops_per_W == pytest.approx(12 / found.energy_pJ.total)
    assert found.tops == pytest.approx(12 / 30e-9 * 1e-12)
    assert found.tops_per_W_1b == pytest.approx(8 * 4 * found.tops_per_W)
    assert found.warnings == ()
    assert found.inputs == 0


def test_capacitors_and_durations() -> None:
    read = {"cost.read.c_cell_fF": 8.0, "cost.read.coding": "duration", "cost.read.c_row_fF": 0.0}
    found = of_shape(chip(**read))
    assert found.energy_pJ.array == pytest.approx(12 / 4 / 2 * 0.25 * 8.0 * 1e-3)  # |u| = 1/2
    stated = {"cost.read.mean_drive": 0.1, "cost.read.mean_conductance": 0.5}
    found = of_shape(chip(**read | stated))
    assert found.energy_pJ.array == pytest.approx(12 * 0.1 * 0.5 * 0.25 * 8.0 * 1e-3)


def test_durations_of_the_dac_are_those_of_a_read() -> None:
    stated, implied = (
        of_shape(chip(**{key: "duration"})).energy_pJ for key in ("cost.read.coding", "dac.coding")
    )
    assert implied == stated
    assert implied.array > of_shape(chip()).energy_pJ.array


@pytest.mark.parametrize(
    ("pairs", "mean_uS"),
    [
        ({"significance": [4.0, 1.0]}, 6.25),  # one cell of each pair rests
        ({"significance": [4.0, 1.0], "writing": "corrected"}, 3.125),  # and the second pair
    ],
)
def test_every_cell_of_several_pairs_takes_current_and_area(
    pairs: dict[str, object], mean_uS: float
) -> None:
    one = of_shape(chip(**{"cost.read.c_row_fF": 0.0}))
    two = of_shape(chip(**{"cost.read.c_row_fF": 0.0, "array.pairs": pairs | {"source": "a test"}}))
    assert one.layers[0].counts is not None
    assert two.layers[0].counts is not None
    assert two.layers[0].counts.cells == 2 * one.layers[0].counts.cells
    assert two.area_um2.array == 2 * one.area_um2.array
    assert one.energy_pJ.array == pytest.approx(12 * 6.25 / 3 * 0.25 * 4.0 * 1e-3)
    assert two.energy_pJ.array == pytest.approx(24 * mean_uS / 3 * 0.25 * 4.0 * 1e-3)


def test_columns_are_charged_whatever_is_on_them_and_cells_of_sram_leak() -> None:
    plain = of_shape(chip())
    found = of_shape(chip(**{"cost.read.c_column_fF": 5.0, "cost.read.leakage_cell_nW": 7.0}))
    # 2 outputs on 2 tiles of 2 rows, in pairs; 16 pairs of cells leak for 30 ns.
    columns_pJ = 2 * 2 * 2 * 2 * 5.0 * 0.25 * 1e-3
    assert found.energy_pJ.array - plain.energy_pJ.array == pytest.approx(columns_pJ)
    leaked_pJ = 2 * 2 * 4 * 2 * 7.0 * 30 * 1e-6
    assert found.energy_pJ.leakage - plain.energy_pJ.leakage == pytest.approx(leaked_pJ)
    silent = of_shape(chip(**{"cost.read.c_column_fF": 5.0, "cost.read.mean_drive": 0.0}))
    assert silent.energy_pJ.array == pytest.approx(columns_pJ)


def test_charge_of_all_bits_is_converted_once() -> None:
    serial = {"dac.bits": 4, "dac.bit_serial": True}
    cycle = {"cost.accumulation": {"kind": "analog", "e_cycle_pJ": 0.25, "t_cycle_ns": 5.0}}
    digital, analog = of_shape(chip(**serial)), of_shape(chip(**serial | cycle))
    assert digital.energy_pJ.adc == pytest.approx(2 * 2 * 3 * 2.0)
    assert analog.energy_pJ.adc == pytest.approx(2 * 2 * 2.0 + 2 * 2 * 7 * 0.25)
    assert analog.energy_pJ.digital == pytest.approx(digital.energy_pJ.digital - 0.1 * 2 * 2 * 2)
    assert analog.latency_ns == 3 * (4 + 6) + 7 * 5 + 2 * 10  # two columns share an ADC
    assert analog.energy_pJ.array == digital.energy_pJ.array


def test_copies_take_area_and_save_time() -> None:
    def of(**changes: object) -> Cost:
        model = cimsim.convert(nn.Conv1d(3, 2, 1, device="meta"), chip(**changes))
        return cost_of(model, torch.zeros(1, 3, 7, device="meta"))

    one, three = of(), of(**{"cost.replication.copies": 3})
    assert one.latency_ns == 7 * 30
    assert three.latency_ns == 3 * 30  # 7 places on 3 copies
    for part in ("array", "dac", "adc", "digital"):
        assert getattr(three.area_um2, part) == 3 * getattr(one.area_um2, part)
        assert getattr(three.energy_pJ, part) == getattr(one.energy_pJ, part)
    assert three.area_um2.buffer == one.area_um2.buffer
    leaking = (three.area_um2.total - three.area_um2.array) * 90
    assert three.energy_pJ.leakage == pytest.approx(leaking * 1e-3)
    assert three.interval_ns == 90


def test_a_layer_leaks_as_its_own_device_does() -> None:
    quiet = chip(**{"cost.leakage_mW_per_mm2": 0.0})
    model = cimsim.convert(
        nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2)), chip(), layers={"1": {"profile": quiet}}
    )
    first, second = cost_of(model, torch.ones(1, 3)).layers
    assert first.energy_pJ.leakage > 0
    assert second.energy_pJ.leakage == 0


def test_bits_come_one_after_the_other() -> None:
    found = of_shape(chip(**{"dac.bits": 4, "dac.bit_serial": True, "cost.read.c_row_fF": 0.0}))
    assert found.latency_ns == 3 * 30
    cells_fJ = 3 * 12 * (25 / 4) / 2 * 0.25 * 4.0  # every second bit is one
    assert found.energy_pJ.array == pytest.approx(cells_fJ * 1e-3)


@pytest.mark.parametrize(("serial", "sign"), [(False, True), (True, True), (True, False)])
def test_energy_of_a_convolutions_cells_is_that_of_every_cell_at_every_place(
    serial: bool, sign: bool
) -> None:
    """Against the sum over places of the programmed chip's conductances times squared drives."""
    torch.manual_seed(0)
    levels = {"dac.bit_serial": serial, "dac.sign": "always" if sign else "if-needed"}
    device = chip(**levels | {"array.rows": 18, "cost.read.c_row_fF": 0.0})
    network = nn.Sequential(nn.Conv2d(4, 6, 3, stride=2, groups=2, padding=1))
    model = cimsim.convert(network, device)
    x = torch.randn(2, 4, 7, 7)
    x = x if sign else x.abs()
    cimsim.calibrate(model, [x])
    cimsim.program(model, 3)
    found = cost_of(model, x)
    assert found.inputs == 2

    (layer,) = model.children()
    assert isinstance(layer, AnalogLayer)
    array = layer.array
    cells = program_and_age(
        array.tiling.to_cells(layer.weight.detach()), device, layer.chip_seed, 0.0
    )
    largest, planes = (127, 7) if sign else (255, 8)
    steps = x / (layer.dac_range / largest)
    if serial:
        codes = steps.clamp(-largest, largest).round().abs().int()
        drive = torch.cat([(codes >> plane & 1).float() for plane in range(planes)])
    else:
        drive = (steps / largest).clamp(-1, 1)
    seen = array.tiling.row_inputs(drive).square().sum(1)  # [tiles, rows]
    total_uS = (seen * cells.g_uS.sum((0, 2))).sum() / 2  # of one input
    assert found.energy_pJ.array == pytest.approx(float(total_uS) * 0.25 * 4.0 * 1e-3, rel=1e-4)


def test_calls_count_by_their_vectors() -> None:
    """A layer that is called with 6 vectors per input, and then with a single larger one."""

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(5, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return cast(torch.Tensor, self.layer(x).sum(1) + self.layer(3 * x[:, :1]).sum(1))

    device = load_profile("pcm-ibm-2020", {"cell.programming_noise": []})
    torch.manual_seed(0)
    x = torch.rand(4, 6, 5) - 0.3
    model = cimsim.calibrate(cimsim.convert(Twice(), device), [x])
    layer = cast(AnalogLayer, model.layer)
    u = torch.cat([x.reshape(-1, 5), 3 * x[:, 0]]) / layer.dac_range
    weight = layer.weight.detach().abs()
    g_uS = 25 * weight / weight.amax(1, keepdim=True)
    cells_fJ = (u.clamp(-1, 1).square() @ g_uS.T).sum() / 4 * 0.2**2 * 250
    prices = cost_of(model, x).prices
    (cells_pJ,) = (p.amount for p in prices if (p.quantity, p.price) == ("energy", "cell read"))
    assert cells_pJ == pytest.approx(float(cells_fJ) * 1e-3, rel=1e-5)


def test_many_devices_for_one_pass() -> None:
    torch.manual_seed(0)
    model = cimsim.convert(nn.Sequential(nn.Linear(9, 5), nn.ReLU(), nn.Linear(5, 2)), chip())
    x = torch.randn(3, 9)
    work = workload_of(model, x)
    assert cost_of(work) == cost_of(model, x)
    fine, coarse = (cost_of(work, profile=chip(**{"array.rows": rows})) for rows in (2, 9))
    assert [layer.counts and layer.counts.row_tiles for layer in fine.layers] == [5, 3]
    assert [layer.counts and layer.counts.row_tiles for layer in coarse.layers] == [1, 1]
    assert fine.energy_pJ.adc > 3 * coarse.energy_pJ.adc
    moved = cimsim.nn.set_profile(model, chip(**{"array.rows": 9}))
    assert cost_of(moved, x).energy_pJ.adc == coarse.energy_pJ.adc


def test_layers_in_turn_and_all_at_work() -> None:
    model = cimsim.convert(
        nn.Sequential(nn.Conv1d(2, 4, 1), nn.Flatten(), nn.Linear(20, 3)),
        chip(),
        keep_digital=["2"],
    )
    found = cost_of(model, torch.ones(1, 2, 5))
    first, last = found.layers
    assert (first.latency_ns, last.latency_ns) == (5 * 30, 60 / 10)
    assert found.latency_ns == 156
    assert found.interval_ns == 150
    assert found.tops_pipelined > found.tops
    assert (last.profile, last.macs, last.counts) == ("digital", 60, None)
    assert last.energy_pJ.digital == pytest.approx(60 * 0.3)
    assert last.energy_pJ.buffer == pytest.approx(0.01 * 8 * (60 + 3 + 20 + 3))


def test_what_nobody_said_is_warned_of() -> None:
    silent = load_profile("generic-gaussian", ["adc.bits=5"])
    assert silent.cost is None
    said, survey = of_shape(silent).warnings
    assert "generic-gaussian has no cost section" in said
    assert "below 6 bits" in survey
    ideal = of_shape(load_profile("ideal")).warnings
    assert any("DAC of ideal is ideal" in text for text in ideal)
    assert any("ADC of ideal is ideal" in text for text in ideal)


def test_bits_of_weights_that_are_not_known_are_not_made_up() -> None:
    found = of_shape(load_profile("pcm-ibm-2020"))
    assert found.tops_1b is found.tops_per_W_1b is None
    sram = of_shape(load_profile("sram-charge-jia-2020"))
    assert sram.tops_per_W_1b == pytest.approx(4 * 4 * sram.tops_per_W)  # sign and three digits


def test_a_layer_that_does_not_fit() -> None:
    model = cimsim.convert(nn.Sequential(nn.Conv2d(1, 1, 3)), chip(**{"array.rows": 9}))
    work = workload_of(model, torch.ones(1, 1, 5, 5))
    with pytest.raises(CimsimError, match="layer '0': a 3x3 kernel needs 9 rows"):
        cost_of(work, profile=chip())
    with pytest.raises(CimsimError, match="needs a batch"):
        cost_of(model)
    with pytest.raises(CimsimError, match="includes its inputs"):
        cost_of(work, torch.ones(1))


def test_parts_add_up() -> None:
    total = Parts(1, 2, 3, 4, 5, 6) + Parts(10, 20, 30, 40, 50, 60)
    assert astuple(total) == (11, 22, 33, 44, 55, 66)
    assert total.total == 231


def small() -> Cost:
    model = cimsim.convert(
        nn.Sequential(nn.Linear(9, 5), nn.Linear(5, 2)), chip(), keep_digital=["1"]
    )
    return cost_of(model, torch.ones(1, 9))


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    found = small()
    json_path, csv_path, *_ = write_result(tmp_path, found)
    assert STUDY.read(tmp_path) == found
    facts = json.loads(json_path.read_text())
    assert facts["totals"]["energy_pJ"]["total"] == pytest.approx(found.energy_pJ.total)
    rows = list(csv.DictReader(csv_path.read_text().splitlines()))
    assert [row["layer"] for row in rows] == ["0", "1", "all"]
    assert [row["adc_conversions"] for row in rows] == ["25", "", ""]
    sums = [float(row["energy_pJ"]) for row in rows]
    assert sums[0] + sums[1] == pytest.approx(sums[2])


def test_a_result_from_before_layers_had_copies_is_read(tmp_path: Path) -> None:
    found = small()
    json_path, *_ = write_result(tmp_path, found)
    facts = json.loads(json_path.read_text())
    for key in ("copies", "column_lines", "cycles", "integrations"):
        del facts["layers"][0]["counts"][key]
    facts.pop("sha256", None)
    json_path.write_text(json.dumps(facts))
    counts = STUDY.read(tmp_path).layers[0].counts
    assert counts is not None
    assert (counts.copies, counts.adc_conversions) == (1, 25)


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(CimsimError, match=r"there is no such result; run `cimsim cost .*`"):
        STUDY.read(tmp_path)
    (tmp_path / "cost").mkdir()
    (tmp_path / "cost" / "cost.json").write_text('{"layers": 3}')
    with pytest.raises(CimsimError, match="is damaged; run `cimsim cost"):
        STUDY.read(tmp_path)


def test_a_bar_for_every_layer() -> None:
    found = small()
    figure = found.figure()
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["0", "1"]
    widths = [[bar.get_width() for bar in bars] for bars in axes.containers]
    energies = [sum(layer) for layer in zip(*widths, strict=True)]
    assert axes.get_xlabel() == "Energy per inference (pJ)"
    assert energies == pytest.approx([layer.energy_pJ.total for layer in found.layers])
