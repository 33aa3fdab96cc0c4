"""Non-idealities by name, switched off one by one or all but some."""

from typing import Any

import pytest

from cimsim.errors import CimsimError
from cimsim.profile import (
    load_profile,
    non_idealities,
    only,
    override_profile,
    profile_names,
    without,
)
from tests.building import SOURCE, device, gaussian

TRAP = {"kind": "telegraph", "share_of_cells": 0.1, "step_of_g": 0.1, "source": SOURCE}
GAIN = {"kind": "gain", "sigma": 0.1, "source": SOURCE}
SAR = {"kind": "sar", "sigma_unit": 0.1, "source": SOURCE}
SINH = {"kind": "sinh", "v_read_V": 0.2, "k_per_V": 2.0, "source": SOURCE}


def test_names_are_paths_and_kinds() -> None:
    assert non_idealities(load_profile("pcm-ibm-2020")) == (
        "cell.programming_noise.state-dependent",
        "cell.drift.power-law",
        "cell.read_noise.one-over-f",
        "dac.bits",
        "adc.bits",
    )
    twice = device(programming=[gaussian(0.1), gaussian(0.2)])
    assert non_idealities(twice) == ("cell.programming_noise.0", "cell.programming_noise.1")


@pytest.mark.parametrize("name", profile_names())
def test_each_can_be_the_only_one_and_each_can_be_absent(name: str) -> None:
    profile = load_profile(name)
    names = non_idealities(profile)
    for one in names:
        assert non_idealities(only(profile, [one])) == (one,)
        rest = non_idealities(without(profile, [one]))
        assert one not in rest or one.endswith(".bits")
        assert set(rest) | {one} == set(names)
    assert non_idealities(only(profile, [])) == ()
    assert without(profile, []) == profile


def test_a_converter_stays_as_fine_as_can_be_where_its_range_is_needed() -> None:
    noisy = device(adc=6, adc_noise=0.01)
    assert only(noisy, ["adc.noise_of_range"]).adc.bits == 16
    assert only(noisy, ["adc.bits"]).adc.noise_of_range == 0
    bent = override_profile(device(dac=6), {"cell.iv": SINH})
    assert only(bent, ["cell.iv"]).dac.bits == 16
    assert without(bent, ["cell.iv", "dac.bits"]).dac.bits is None


def test_an_architecture_keeps_its_bits_for_its_errors_are_steps_of_them() -> None:
    profile = override_profile(device(adc=6), {"adc.errors": [GAIN, SAR]})
    alone = only(profile, ["adc.errors.sar"])
    assert alone.adc.bits == 6
    assert only(profile, ["adc.errors.gain"]).adc.bits == 16


def test_what_has_strength_zero_is_not_named() -> None:
    profile = device(read=[TRAP, {**gaussian(0.1), "strength": 0.0}])
    assert non_idealities(profile) == ("cell.read_noise.telegraph",)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(CimsimError, match=r"unknown non-ideality 'adc\.bit'; did you mean"):
        without(load_profile("pcm-ibm-2020"), ["adc.bit"])
    with pytest.raises(CimsimError, match="unknown non-ideality 'wires'"):
        only(load_profile("pcm-ibm-2020"), ["wires"])


GATED = {"kind": "nodal", "cells": "gated", "r_bit_ohm": 5.0, "source": SOURCE}
TABLE = {"kind": "table", "values_of_range": [-1.0, -0.2, 0.3, 1.0], "source": SOURCE}


@pytest.mark.parametrize(
    "keys",
    [
        {"dac.sign": "if-needed"},
        {"dac.coding": "duration"},
        {"dac.coding": "duration", "wires": GATED},
        {"dac.bit_serial": True, "dac.sign": "if-needed", "wires": GATED},
        {"adc.codes": {"kind": "lloyd-max"}, "adc.noise_of_range": 0.01},
        {"adc.codes": TABLE, "adc.bits": 2},
        {"adc.codes": TABLE, "adc.bits": 2, "adc.errors": [GAIN]},
        {"adc.bits": 1, "adc.noise_of_range": 0.01},
    ],
)
def test_what_belongs_to_the_bits_of_a_converter_goes_with_them(keys: dict[str, Any]) -> None:
    profile = override_profile(device(dac=6, adc=6), keys)
    for one in non_idealities(profile):
        assert set(non_idealities(only(profile, [one]))) <= {one, "dac.bits"}
        assert set(non_idealities(without(profile, [one]))) | {one} == set(non_idealities(profile))
