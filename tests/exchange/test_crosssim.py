"""Parameters of CrossSim as plain values, written by hand with its documented defaults."""

from __future__ import annotations

import copy
import json
import math
from typing import Any

import pytest
import torch

import cimsim
from cimsim.errors import CimsimError
from cimsim.exchange import from_crosssim, to_crosssim
from cimsim.exchange.crosssim_fields import FIELDS
from cimsim.exchange.differences import lost
from cimsim.exchange.source import NO_EFFECT
from cimsim.physics import aged_uS
from cimsim.profile import dump_profile, load_profile, validate_file

# Enumerations as numbers, as in the files of CrossSim.
PARAMETERS: dict[str, Any] = {
    "core": {
        "style": 1,
        "rows_max": 256,
        "cols_max": 128,
        "mapping": {
            "weights": {"clipping": True, "min": None, "max": None, "percentile": 1.0},
            "inputs": {"_match": True, "mvm": {"min": -2.0, "max": 2.0, "percentile": None}},
        },
    },
    "xbar": {
        "device": {
            "Rmin": 40_000,
            "Rmax": 400_000,
            "programming_error": {
                "enable": True,
                "model": "NormalIndependentDevice",
                "magnitude": 0.03,
            },
        },
        "adc": {
            "mvm": {
                "model": "SignMagnitudeADC",
                "bits": 8,
                "calibrated_range": [-12.0, 12.0],
                "adc_range_option": 1,
            }
        },
        "dac": {"mvm": {"model": "SignMagnitudeDAC", "bits": 6}},
    },
}


def with_values(changes: dict[str, Any]) -> dict[str, Any]:
    values = copy.deepcopy(PARAMETERS)
    for path, value in changes.items():
        *parents, last = path.split(".")
        inner = values
        for part in parents:
            inner = inner.setdefault(part, {})
        inner[last] = value
    return values


def notes_of(changes: dict[str, Any]) -> dict[str, str]:
    return {n.field: n.consequence for n in from_crosssim(with_values(changes)).notes}


def test_cell_array_and_converters() -> None:
    imported = from_crosssim(PARAMETERS)
    profile = imported.profile
    assert (profile.cell.g_min_uS, profile.cell.g_max_uS) == (2.5, 25.0)
    assert (profile.array.rows, profile.array.columns) == (256, 128)
    assert profile.array.weight_scale == "layer"
    assert (profile.dac.bits, profile.adc.bits) == (6, 8)
    assert profile.dac.range.full_scale == 2.0  # type: ignore[union-attr]
    assert profile.adc.range.full_scale == 12.0  # type: ignore[union-attr]
    (noise,) = profile.cell.programming_noise
    assert noise.kind == "gaussian"
    assert noise.sigma_of_g_max == 0.03
    assert imported.notes == ()


@pytest.mark.parametrize(
    ("model", "shipped"), [("RRAMMilo", "reram-milo-2021"), ("SONOS", "sonos-agrawal-2022")]
)
def test_the_cells_of_shipped_profiles(model: str, shipped: str) -> None:
    ours = load_profile(shipped)
    changes: dict[str, Any] = {
        "xbar.device.Rmin": 1e6 / ours.cell.g_max_uS,
        "xbar.device.Rmax": 1e6 / ours.cell.g_min_uS if ours.cell.g_min_uS else 1e12,
        "xbar.device.infinite_on_off_ratio": ours.cell.g_min_uS == 0,
    }
    for part in ("programming_error", "read_noise", "nonlinear_IV"):
        applies = part == "programming_error" or (part == "nonlinear_IV") == (model == "RRAMMilo")
        changes[f"xbar.device.{part}"] = {"enable": applies, "model": model, "magnitude": 0}
    if model == "RRAMMilo":
        changes["xbar.device.Vread"] = 0.2
        changes["xbar.device.read_noise"] = {"enable": False, "model": "IdealDevice"}
    profile = from_crosssim(with_values(changes)).profile
    differences = {n.field: n for n in lost(ours, profile, "x") if n.field.startswith("cell.")}
    differences.pop("cell.drift.tabulated", None)  # which only its own test compares
    differences.pop("cell.read_noise.state-dependent.sigma_uS", None)  # rounded in the profile
    assert differences == {}


def test_the_drift_of_sonos_at_its_days() -> None:
    changes = {"xbar.device.Rmin": 62_500, "xbar.device.infinite_on_off_ratio": True}
    sonos = {"enable": True, "model": "SONOS", "magnitude": 0}
    changes |= {f"xbar.device.{part}": sonos for part in ("programming_error", "drift_error")}
    profile = from_crosssim(with_values(changes)).profile
    assert profile.cell.programming_noise == ()  # included in the drift model
    target = torch.full((50_000,), 4.0)  # 400 nA at 0.1 V
    aged = aged_uS(target, target, profile.cell, 86400.0, 0)
    # By hand: 0.6153 nA more, and 25.59102 (1 - exp(-400 / 186.85544)) = 22.58 nA of spread.
    assert aged.std().item() == pytest.approx(0.2258, rel=0.02)
    assert aged.mean().item() == pytest.approx(4.00615, abs=4 * 0.2258 / math.sqrt(50_000))
    assert "drift" not in " ".join(note.field for note in to_crosssim(profile).notes)


def test_a_text_is_true_unless_it_is_empty() -> None:
    imported = from_crosssim(with_values({"xbar.device.infinite_on_off_ratio": "False"}))
    assert imported.profile.cell.g_min_uS == 0
    (note,) = imported.notes
    assert note.field == "xbar.device.infinite_on_off_ratio"
    assert note.value == "'False'"
    assert "as true" in note.consequence
    off = from_crosssim(with_values({"xbar.device.infinite_on_off_ratio": ""}))
    assert off.profile.cell.g_min_uS == 2.5


def test_no_programming_error_after_time_zero() -> None:
    imported = from_crosssim(with_values({"xbar.device.time": 2}))
    assert imported.profile.cell.programming_noise == ()
    notes = {note.field: note.consequence for note in imported.notes}
    assert "no programming error" in notes["xbar.device.programming_error.model"]
    assert "--age 2d" in notes["xbar.device.time"]


@pytest.mark.parametrize(
    ("changes", "mapping", "slices"),
    [
        ({"core.style": 3, "core.offset": {"style": 1}}, "single-device", 1),
        ({"core.style": 3, "core.offset": {"style": 2}}, "offset-column", 1),
        ({"core.style": "BITSLICED", "core.weight_bits": 8,
          "core.bit_sliced": {"style": 3, "num_slices": 4}}, "single-device", 4),
        ({"core.style": 2, "core.weight_bits": 9,
          "core.bit_sliced": {"style": 1, "num_slices": 4}}, "differential-pair", 4),
    ],
)  # fmt: skip
def test_styles(changes: dict[str, Any], mapping: str, slices: int) -> None:
    changes["xbar.adc.mvm.adc_range_option"] = "GRANULAR"
    profile = from_crosssim(with_values(changes)).profile
    assert profile.array.mapping == mapping
    assert profile.array.slices == slices
    assert profile.cell.levels == (4 if slices == 4 else None)


def test_both_cells_of_a_pair_hold_the_weight() -> None:
    profile = from_crosssim(with_values({"core.balanced.style": 2})).profile
    assert profile.array.pairs is not None
    assert profile.array.pairs.table is not None
    assert profile.array.pairs.table.g_uS == ((2.5, 25.0), (25.0, 2.5))


def test_an_adc_without_a_code_at_zero_is_a_table() -> None:
    changes = {"xbar.adc.mvm.model": "QuantizerADC", "xbar.adc.mvm.bits": 2}
    codes = from_crosssim(with_values(changes)).profile.adc.codes
    assert codes.kind == "table"
    assert codes.values_of_range == pytest.approx((-1, -1 / 3, 1 / 3, 1))


def test_wires() -> None:
    at = "xbar.array.parasitics."
    changes = {f"{at}enable": True, f"{at}Rp_row": 0.5, f"{at}Rp_col": 0.25}
    wires = from_crosssim(with_values(changes)).profile.wires
    assert wires is not None
    assert (wires.r_word_ohm, wires.r_bit_ohm, wires.pairs) == (0.5, 0.25, "apart")
    wires = from_crosssim(
        with_values(changes | {"core.balanced.interleaved_posneg": True})
    ).profile.wires
    assert wires is not None
    assert wires.pairs == "rows"


def test_a_uniform_error_becomes_gaussian() -> None:
    changes = {"xbar.device.programming_error.model": "UniformProportionalDevice"}
    imported = from_crosssim(with_values(changes))
    (noise,) = imported.profile.cell.programming_noise
    assert noise.kind == "relative"
    assert noise.sigma_of_g == pytest.approx(0.03 / math.sqrt(12))
    assert "xbar.device.programming_error.model" in {note.field for note in imported.notes}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("xbar.device.read_noise", {"enable": True, "model": "MyDevice"}),
        ("xbar.array.Icol_max", 3.0),
        ("core.complex_matrix", True),
        ("core.mapping.weights.percentile", 0.99),
        ("core.balanced.subtract_current_in_xbar", False),
        ("xbar.adc.mvm.stochastic_rounding", True),
        ("xbar.adc.vmm.bits", 4),
        ("xbar.device.leakage_nA", 4.0),
    ],
)
def test_what_has_no_counterpart_is_listed(field: str, value: object) -> None:
    notes = notes_of({field: value})
    assert any(name.startswith(field) for name in notes)


def test_every_field_without_a_key_has_a_consequence() -> None:
    assert [f.path for f in FIELDS if not f.key and not f.consequence] == []
    assert all(f.key != NO_EFFECT or not f.consequence for f in FIELDS)


def test_there_and_back(tmp_path: Any) -> None:
    profile = from_crosssim(PARAMETERS).profile
    exported = to_crosssim(profile)
    assert exported.notes == ()
    assert from_crosssim(json.loads(exported.json())).profile == profile
    file = tmp_path / "mine.yaml"
    file.write_text(dump_profile(profile))
    assert validate_file(file) == []
    compile(exported.python(), "exported", "exec")


def test_what_is_lost_on_the_way_there() -> None:
    notes = {n.field: str(n) for n in to_crosssim(load_profile("pcm-ibm-2020")).notes}
    assert notes["cell.drift.power-law"].endswith("in CrossSim; it is missing there")
    assert "becomes layer in CrossSim" in notes["array.weight_scale"]
    assert "becomes none" in notes["array.drift_compensation"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([1], "not parameters of CrossSim"),
        ({"core": {}}, "not parameters of CrossSim"),
        (with_values({"core.style": 7}), "'core.style' must be one of BALANCED, BITSLICED, OFFSET"),
        (with_values({"core.style": "BALANCE"}), "did you mean 'BALANCED'"),
        (with_values({"xbar.adc.mvm.model": "MyADC"}), "unknown ADC of CrossSim 'MyADC'"),
        (with_values({"xbar.dac.mvm.model": "MyDAC"}), "unknown DAC of CrossSim 'MyDAC'"),
        (with_values({"xbar.adc.mvm.calibrated_range": [3.0, 1.0]}), "a lower and a higher limit"),
        (with_values({"xbar.device.Rmin": 1e6}), "g_max_uS must be larger than g_min_uS"),
        (with_values({"xbar.device.Rmin": 0}), "a value of this configuration is impossible"),
        (with_values({"xbar.device.cell_bits": -1}), "a value of this configuration is impossible"),
        (with_values({"core.rows_max": 2.5}), "'core.rows_max' must be a whole number"),
    ],
)
def test_one_sentence_for_bad_input(given: Any, message: str) -> None:
    with pytest.raises(CimsimError, match=message):
        from_crosssim(given)


def test_signed_cells_have_no_counterpart() -> None:
    with pytest.raises(CimsimError, match="idealized signed cells"):
        to_crosssim(cimsim.load_profile("mismatch"))
