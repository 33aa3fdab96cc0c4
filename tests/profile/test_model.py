"""The typed profile."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import cimsim.profile
from cimsim.errors import CimsimError
from cimsim.profile import (
    Effect,
    PowerLawDrift,
    ProfileError,
    StateDependentProgrammingNoise,
    TabulatedDrift,
    load_profile,
    override_profile,
    profile_names,
)
from cimsim.profile.base import Section

PCM = load_profile("pcm-ibm-2020")
NOISY = override_profile(PCM, {"adc.noise_of_range": 0.01})


@pytest.mark.parametrize("name", profile_names())
def test_factor_one_changes_nothing(name: str) -> None:
    assert load_profile(name).scale_noise(1) == load_profile(name)


@given(st.floats(0, 1e6))
def test_every_random_part_scales_and_the_mean_drift_stays(factor: float) -> None:
    scaled = NOISY.scale_noise(factor)
    programming = scaled.cell.programming_noise[0]
    assert isinstance(programming, StateDependentProgrammingNoise)
    assert (programming.strength, programming.spread_strength) == (1, factor)
    assert scaled.cell.read_noise[0].strength == factor
    assert scaled.adc.noise_of_range == 0.01 * factor
    (drift,) = scaled.cell.drift
    assert isinstance(drift, PowerLawDrift)
    assert (drift.strength, drift.spread_strength) == (1, factor)
    assert scaled.dac == NOISY.dac
    assert scaled.array == NOISY.array


def test_relaxation_scales_its_spread() -> None:
    (relaxation,) = load_profile("reram-wan-2022").scale_noise(0.5).cell.drift
    assert isinstance(relaxation, TabulatedDrift)
    assert (relaxation.strength, relaxation.spread_strength) == (1, 0.5)


@pytest.mark.parametrize("factor", [np.float32(2), np.int64(2), torch.tensor(2.0)], ids=repr)
def test_a_factor_of_numpy_or_torch_is_a_number(factor: Any) -> None:
    scaled = NOISY.scale_noise(factor)
    assert scaled == NOISY.scale_noise(2.0)
    assert type(scaled.adc.noise_of_range) is float


@pytest.mark.parametrize("factor", [-1, float("nan"), float("inf"), "2", None, [1]])
def test_a_senseless_factor_is_refused(factor: Any) -> None:
    with pytest.raises(CimsimError, match="noise factor must be 0 or more"):
        PCM.scale_noise(factor)


def test_a_profile_cannot_be_changed_in_place() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        PCM.adc.bits = 3


def test_a_profile_is_copied_and_pickled() -> None:
    assert copy.deepcopy(PCM) == PCM
    assert pickle.loads(pickle.dumps(PCM)) == PCM


def sections() -> list[type[Section]]:
    public = [getattr(cimsim.profile, name) for name in cimsim.profile.__all__]
    return [each for each in public if inspect.isclass(each) and issubclass(each, Section)]


@pytest.mark.parametrize("section", sections())
def test_every_field_is_described(section: type[Section]) -> None:
    for name, field in section.model_fields.items():
        assert field.description or name == "kind", f"{section.__name__}.{name}"


@pytest.mark.parametrize("section", [each for each in sections() if each is not Effect])
def test_every_effect_has_its_equation_units_and_source(section: type[Section]) -> None:
    if not issubclass(section, Effect):
        return
    text = inspect.getdoc(section) or ""
    assert "\n    " in text
    assert "Units: " in text
    assert "Source: " in text


def test_noise_of_a_range_that_is_not_there_is_refused() -> None:
    """A configured effect never silently does nothing."""
    with pytest.raises(CimsimError, match="an ideal ADC has no range"):
        load_profile("pcm-ibm-2020", ["adc.bits=null", "adc.noise_of_range=0.01"])
    assert load_profile("pcm-ibm-2020", ["adc.noise_of_range=0.01"]).adc.noise_of_range == 0.01


# What would do nothing, or could not work, is refused where it is written.
REFUSED = {
    "array.slices=2": "'slices' above 1 requires 'cell.levels'",
    "array.drift_compensation=none,array.drift_probe=measured": "requires drift compensation",
    "temperature_C=85": "nothing in this profile depends on temperature",
    "dac.bits=null,dac.bit_serial=true": "an ideal DAC has no levels or bits",
    "adc.bits=null,adc.columns_per_adc=2,adc.noise_of_range=0.1": "an ideal ADC has no range",
    "cell.programming_noise=[],cell.write_verify={tolerance_uS: 1}": "no programming noise to v",
    "wires={cells: gated, r_bit_ohm: 1}": "requires 'dac.bit_serial: true'",
    "wires={cells: gated, r_word_ohm: 1}": "has no effect on gated cells",
    "wires={r_supply_ohm: 1}": "has no effect on passive cells",
    "dac.bits=null,cell.iv={kind: sinh, v_read_V: 1, k_per_V: 1}": "an ideal DAC has no full-scale",
}


@pytest.mark.parametrize(("keys", "message"), REFUSED.items())
def test_what_could_not_work_is_refused(keys: str, message: str) -> None:
    overrides = re.split(r",(?=[a-z_]+[.=])(?![^{]*\})", keys)
    with pytest.raises(ProfileError) as caught:
        load_profile("pcm-ibm-2020", overrides)
    assert message in str(caught.value)


STATE_DEPENDENT = {
    "kind": "state-dependent",
    "g_ref_uS": 25.0,
    "sigma_uS": {"kind": "polynomial", "coefficients": [0.1]},
    "source": "a test",
}


@pytest.mark.parametrize(
    "wrong",
    [
        {"array.mapping": "differential-pair"},
        {"cell.g_min_uS": -20.0},
        {"cell.programming_noise.0": STATE_DEPENDENT},
        {"cell.levels": 16},
    ],
)
def test_a_signed_cell_is_an_ideal(wrong: dict[str, object]) -> None:
    with pytest.raises(ProfileError, match="selects an idealized signed cell"):
        load_profile("generic-gaussian", wrong)
