"""Configurations of aihwkit as plain values, written by hand with its documented defaults."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

import cimsim
from cimsim.errors import CimsimError
from cimsim.exchange import from_aihwkit, to_aihwkit
from cimsim.exchange.aihwkit_fields import FIELDS
from cimsim.exchange.differences import lost
from cimsim.exchange.source import NO_EFFECT
from cimsim.physics import aged_uS, programmed_uS
from cimsim.profile import dump_profile, load_profile, validate_file

PCM = {
    "class": "PCMLikeNoiseModel",
    "g_converter": {"class": "SinglePairConductanceConverter", "g_max": 25.0, "g_min": 0.0},
    "g_max": 25.0,
    "prog_coeff_g_max_reference": 25.0,
    "prog_coeff": [0.26348, 1.965, -1.1731],
    "t_0": 20.0,
    "t_read": 2.5e-07,
    "prog_noise_scale": 1.0,
    "read_noise_scale": 1.0,
    "drift_scale": 1.0,
}
HERMES = {
    "class": "HermesNoiseModel",
    "num_devices": 2,
    "g_max": 20.7,
    "prog_coeff_g_max_reference": 20.7,
    "prog_coeff": [0.16603222, 4.71806468, -8.48101252, 4.68961419],
    "t_0": 300.0,
    "t_read": 5.12e-07,
}
WAN = {
    "class": "ReRamWan2022NoiseModel",
    "g_converter": {"class": "SinglePairConductanceConverter", "g_max": 40.0, "g_min": 1.0},
    "g_max": 40.0,
    "coeff_g_max_reference": 40.0,
    "prog_coeff_g_max_reference": 40.0,
}
CMO = {
    "class": "ReRamCMONoiseModel",
    "g_max": 88.2,
    "g_min": 9.0,
    "coeff_g_max_reference": 88.2,
    "coeff_dict": {"0.2": [0.00081107, 0.00106879], "2": [0.0112185391, 0.01129027418]},
    "acceptance_range": 2,
}
FIXED = {
    "class": "IOParameters",
    "inp_res": 254.0,
    "out_res": 1 / 254,
    "out_bound": 10.0,
    "out_noise": 0.04,
    "noise_management": "CONSTANT",
    "nm_thres": 2.0,
    "bound_management": "NONE",
}
SCALED = {"weight_scaling_omega": 1.0, "weight_scaling_columnwise": True}


def config(**parts: Any) -> dict[str, Any]:
    return {"forward": FIXED, "mapping": SCALED, "noise_model": PCM} | parts


def fields_with_notes(**parts: Any) -> dict[str, str]:
    return {note.field: note.consequence for note in from_aihwkit(config(**parts)).notes}


@pytest.mark.parametrize(
    ("model", "shipped", "but"),
    [
        (PCM, "pcm-ibm-2020", ()),
        (HERMES, "pcm-hermes-2023", ()),
        (WAN, "reram-wan-2022", ()),
        # The toolkit clips aged conductances to the range of the targets.
        (CMO, "reram-cmo-2025", ("cell.g_floor_uS", "cell.g_ceiling_uS")),
    ],
)
def test_the_cells_of_shipped_profiles(model: Any, shipped: str, but: tuple[str, ...]) -> None:
    imported = from_aihwkit(config(noise_model=model)).profile
    differences = [n for n in lost(load_profile(shipped), imported, "x") if n.field[:5] == "cell."]
    assert {n.field for n in differences} == set(but)


def test_converters() -> None:
    imported = from_aihwkit(config())
    dac, adc = imported.profile.dac, imported.profile.adc
    assert (dac.bits, adc.bits) == (8, 8)
    assert dac.range.kind == "fixed"
    assert dac.range.full_scale == 2.0
    assert adc.range.kind == "fixed"
    assert adc.range.full_scale == 10.0
    assert adc.noise_of_range == pytest.approx(0.004)
    assert imported.profile.array.weight_scale == "column"
    assert imported.notes == ()


def test_a_smaller_range_of_conductances_is_a_smaller_range_of_the_adc() -> None:
    converter = {"class": "SinglePairConductanceConverter", "g_max": 25.0, "g_min": 5.0}
    imported = from_aihwkit(config(noise_model=PCM | {"g_converter": converter})).profile
    assert imported.cell.g_min_uS == 5.0
    assert imported.adc.range.full_scale == pytest.approx(10.0 * 20 / 25)  # type: ignore[union-attr]


def test_two_pairs_fill_one_after_the_other() -> None:
    converter = {"class": "DualPairConductanceConverter", "f_lst": [1.0, 3.0], "g_max": 25.0}
    imported = from_aihwkit(config(noise_model=PCM | {"g_converter": converter})).profile
    pairs = imported.array.pairs
    assert pairs is not None
    assert pairs.table is not None
    assert pairs.table.r == (-1.0, -0.25, 0.0, 0.25, 1.0)
    assert pairs.table.g_uS[0] == (0.0, 0.0, 0.0, 25.0, 25.0)
    assert pairs.table.g_uS[2] == (0.0, 0.0, 0.0, 0.0, 25.0)
    # A weight of 1 is the current of 1 + 3 full cells.
    assert imported.adc.range.full_scale == pytest.approx(40.0)  # type: ignore[union-attr]


def test_a_perfect_forward_pass_has_ideal_converters() -> None:
    imported = from_aihwkit(config(forward=FIXED | {"is_perfect": True, "w_noise": 0.1})).profile
    assert imported.dac.bits is None
    assert imported.adc.bits is None
    assert len(imported.cell.read_noise) == 1


def test_noise_of_weights_has_the_variance_of_a_weight() -> None:
    forward = FIXED | {"w_noise": 0.02, "w_noise_type": "ADDITIVE_CONSTANT"}
    effect = from_aihwkit(config(forward=forward)).profile.cell.read_noise[1]
    assert effect.kind == "gaussian"
    assert effect.sigma_of_g_max * math.sqrt(2) == pytest.approx(0.02)


@pytest.mark.parametrize(("kind", "power"), [("ADDITIVE_CONSTANT", 1.0), ("PCM_READ", 0.5)])
def test_noise_of_weights_is_relative_to_the_largest_weight(kind: str, power: float) -> None:
    """A weight w is omega * w / max|w| in aihwkit's units, whose noise does not depend on omega."""
    forward = FIXED | {"w_noise": 0.02, "w_noise_type": kind}

    def noise_uS(omega: float) -> float:
        mapping = SCALED | {"weight_scaling_omega": omega}
        cell = from_aihwkit(config(forward=forward, mapping=mapping)).profile.cell
        effect = cell.read_noise[1]
        if effect.kind == "gaussian":
            return effect.sigma_of_g_max
        assert effect.kind == "state-dependent"
        assert effect.sigma_uS.kind == "capped-power"
        return effect.sigma_uS.coefficient

    assert noise_uS(0.25) == pytest.approx(noise_uS(1.0) / 0.25**power)


def test_a_resolution_between_two_bits() -> None:
    notes = fields_with_notes(forward=FIXED | {"inp_res": 100.0})
    assert notes["forward.inp_res"] == (
        "100 steps are not a whole number of bits; 7 bits, with 126 steps, are the nearest"
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("inp_noise", 0.1),
        ("out_asymmetry", 0.1),
        ("v_offset_std", 0.1),
        ("r_series", 0.1),
        ("w_read_asymmetry_dtod", 0.1),
        ("mv_type", "POS_NEG_SEPARATE"),
        ("noise_management", "ABS_MAX"),
        ("bound_management", "ITERATIVE"),
    ],
)
def test_what_has_no_counterpart_is_listed(field: str, value: object) -> None:
    assert f"forward.{field}" in fields_with_notes(forward=FIXED | {field: value})


def test_a_field_that_nobody_knows_is_listed() -> None:
    notes = fields_with_notes(
        forward=FIXED | {"quantum_noise": 0.3}, noise_model=PCM | {"telegraph": 2.0}
    )
    assert "unknown to cimsim" in notes["forward.quantum_noise"]
    assert "unknown to cimsim" in notes["noise_model.telegraph"]


def test_the_reference_that_the_toolkit_does_not_use() -> None:
    model = WAN | {"g_max": 25.0, "coeff_g_max_reference": 25.0}
    del model["g_converter"]
    imported = from_aihwkit(config(noise_model=model))
    assert imported.profile.cell.g_max_uS == 25.0
    assert (
        "1.6 times"
        in dict((note.field, note.consequence) for note in imported.notes)[
            "noise_model.prog_coeff_g_max_reference"
        ]
    )


def test_every_field_without_a_key_has_a_consequence() -> None:
    assert [f.path for f in FIELDS if not f.key and not f.consequence] == []
    assert [f.path for f in FIELDS if f.key == NO_EFFECT and f.consequence] == []


@pytest.mark.parametrize("field", [f for f in FIELDS if not f.key], ids=lambda f: f.path)
def test_every_field_without_a_key_is_reported(field: Any) -> None:
    default = field.default
    other = (
        not default
        if isinstance(default, bool)
        else default + 1
        if isinstance(default, (int, float))
        else [9.0]
        if isinstance(default, list)
        else "OTHER"
    )
    values: dict[str, Any] = json.loads(json.dumps(config()))
    *parents, last = field.path.split(".")
    inner = values
    for part in parents:
        inner = inner.setdefault(part, {})
    inner[last] = other
    assert field.path in {note.field for note in from_aihwkit(values).notes}


def test_the_profile_is_valid_and_drifts(tmp_path: Any) -> None:
    imported = from_aihwkit(config(), name="mine", version="1.2.0").profile
    file = tmp_path / "mine.yaml"
    file.write_text(dump_profile(imported))
    assert validate_file(file) == []
    assert load_profile(file) == imported
    assert "imported from aihwkit 1.2.0" in str(imported.cell.source)
    import torch

    target = torch.full((2000,), 20.0)
    fresh = programmed_uS(target, imported.cell, 0)
    aged = aged_uS(fresh, target, imported.cell, 86400.0, 0)
    # nu = 0.049 at this conductance
    assert (aged.mean() / fresh.mean()).item() == pytest.approx((86420 / 20) ** -0.049, rel=0.02)


@pytest.mark.parametrize("model", [PCM, HERMES, WAN, CMO], ids=lambda m: m["class"])
def test_there_and_back(model: Any) -> None:
    profile = from_aihwkit(config(noise_model=model)).profile
    exported = to_aihwkit(profile)
    assert exported.notes == ()
    assert json.loads(exported.json())["noise_model"]["class"] == model["class"]
    compile(exported.python(), "exported", "exec")


def test_what_is_lost_on_the_way_there() -> None:
    profile = load_profile(
        "pcm-ibm-2020", ["cell.levels=16", "adc.range={kind: k-sigma, k: 4}", "dac.bit_serial=true"]
    )
    notes = {note.field: str(note) for note in to_aihwkit(profile).notes}
    assert notes["cell.levels"].endswith("has no counterpart in aihwkit; it is missing there")
    assert "becomes fixed" in notes["adc.range"]
    assert "dac.bit_serial" in notes


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"device": {}, "forward": {}}, "not an inference configuration"),
        (3, "'int' is not an inference configuration"),
        (config(noise_model={"class": "MyNoise"}), "unknown noise model of aihwkit 'MyNoise'"),
        (config(forward={"out_bound": "big"}), "'forward.out_bound' must be a number, not 'big'"),
        (config(forward={"out_bound": math.nan}), "must be finite"),
        (
            config(noise_model=PCM | {"g_converter": {"class": "Odd"}}),
            "unknown conductance converter of aihwkit 'Odd'",
        ),
        (config(noise_model=PCM | {"prog_coeff_g_max_reference": 0.0}), "is impossible"),
        (config(noise_model=CMO | {"decay_dict": {"mean": []}}), "is impossible"),
        (config(noise_model=HERMES | {"num_devices": 3}), "'num_devices' must be 1 or 2, not 3"),
    ],
)
def test_one_sentence_for_bad_input(given: Any, message: str) -> None:
    with pytest.raises(CimsimError, match=message):
        from_aihwkit(given)


def test_signed_cells_have_no_counterpart() -> None:
    with pytest.raises(CimsimError, match="idealized signed cells"):
        to_aihwkit(cimsim.load_profile("generic-gaussian"))
