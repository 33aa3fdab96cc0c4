"""Retention over time and temperature, as a layer's outputs show it, against closed forms."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

import cimsim
from cimsim import kernels
from cimsim.kernels import not_programmed
from cimsim.physics.characteristics import characteristics
from cimsim.profile import Profile
from tests.building import POWER_LAW, device

DAY_S = 86400.0
K_B_eV = 8.617333262e-5
BACK_ENDS: tuple[kernels.Use, ...] = ("fused", "numbers")
SIDE = 100


def flat(value: float) -> dict[str, Any]:
    return {"kind": "polynomial", "coefficients": [value]}


LOGARITHM = {
    "kind": "log-relaxation",
    "t0_s": 10.0,
    "shift_uS": -0.3,
    "sigma0_uS": 0.1,
    "slope_uS": 0.05,
}
TABLE = {
    "kind": "tabulated",
    "g_ref_uS": 25.0,
    "times_s": [1.0, 1e4, 1e8],
    "shift_uS": [flat(-0.1), flat(-1.0), flat(-3.0)],
    "sigma_uS": [flat(0.1), flat(0.3), flat(0.5)],
}
AGING = (POWER_LAW, LOGARITHM, TABLE)


def read(drift: dict[str, Any], age_s: float, operating_C: float = 25.0) -> Tensor:
    """Conductances in µS of cells that were written to 20 µS, from the outputs of a layer."""
    profile = device(drift=[drift], g_min_uS=15.0, g_max_uS=25.0, temperature_C=operating_C)
    data = profile.model_dump()
    data["array"]["mapping"] = "single-device"
    digital = nn.Linear(SIDE, SIDE, bias=False)
    with torch.no_grad():
        digital.weight.fill_(1e-9)[:, 0] = 1.0
    eye = torch.eye(SIDE)
    model = cimsim.calibrate(cimsim.convert(digital, Profile.model_validate(data)), [eye]).eval()
    cimsim.age(cimsim.program(model, 1), age_s)
    with torch.no_grad():
        return 20.0 + 5.0 * model(eye).double()[1:]


def acceleration(activation_eV: float, stored_C: float, reference_C: float = 25.0) -> float:
    inverse = 1 / (reference_C + 273.15) - 1 / (stored_C + 273.15)
    return math.exp(activation_eV / K_B_eV * inverse)


@pytest.mark.parametrize("which", BACK_ENDS)
@pytest.mark.parametrize("drift", AGING, ids=lambda drift: drift["kind"])
def test_an_activation_energy_maps_time_in_the_heat_to_time_at_the_reference(
    drift: dict[str, Any], which: kernels.Use
) -> None:
    """The same chip: every cell is where it would be later at the reference temperature."""
    warm, energy = {"activation_eV": 0.6, "reference_C": 40.0}, acceleration(0.6, 85.0, 40.0)
    assert energy == pytest.approx(16.4, abs=0.1)
    with kernels.use(which):
        expected = read(drift, energy * 1000.0)
        operated = read({**drift, **warm}, 1000.0, operating_C=85.0)
        assert torch.allclose(operated, expected, rtol=1e-4)
        if drift["kind"] != "power-law":  # which has an exponent of its own then
            stored = read({**drift, **warm, "storage_C": 85.0}, 1000.0)
            assert torch.allclose(stored, expected, rtol=1e-4)
        at_reference = read({**drift, **warm}, 1000.0, operating_C=40.0)
        assert torch.allclose(at_reference, read(drift, 1000.0), rtol=1e-5)
        assert not torch.allclose(at_reference, expected, rtol=1e-3)


@pytest.mark.parametrize("which", BACK_ENDS)
@pytest.mark.parametrize(("stored_C", "operating_C"), [(125.0, 25.0), (25.0, 85.0), (60.0, 60.0)])
def test_exponents_of_pcm_go_with_the_temperature_of_storage_over_that_of_reading(
    stored_C: float, operating_C: float, which: kernels.Use
) -> None:
    """``ln(g / g0) = -nu T_s / T ln((t + t0) / t0)``, cell by cell."""
    with kernels.use(which):
        plain = read(POWER_LAW, DAY_S)
        moved = read({**POWER_LAW, "storage_C": stored_C}, DAY_S, operating_C)
    ratio = (moved / 20.0).log() / (plain / 20.0).log()
    expected = (stored_C + 273.15) / (operating_C + 273.15)
    assert torch.allclose(ratio, torch.full_like(ratio, expected), rtol=2e-3)


def test_exponents_of_pcm_do_not_depend_on_temperature_alone() -> None:
    """As measured: the same from 125 K on."""
    cold = {**POWER_LAW, "activation_eV": 1e-9}
    assert torch.allclose(read(cold, DAY_S, -148.0), read(POWER_LAW, DAY_S), rtol=1e-5)


@pytest.mark.parametrize("by_storage", [True, False])
@pytest.mark.parametrize(
    ("celsius", "share"),
    [(0.0, 0.0), (25.0, 0.0), (None, 0.5), (125.0, 1.0), (200.0, 1.0)],
)
def test_tables_over_temperature_are_joined_over_its_inverse(
    celsius: float | None, share: float, by_storage: bool
) -> None:
    """Linear in 1 / T between 25 and 125 degrees, whose middle is 68 degrees; constant outside."""
    middle = 2 / (1 / 298.15 + 1 / 398.15) - 273.15
    assert middle == pytest.approx(67.8, abs=0.05)
    at_C = middle if celsius is None else celsius
    tables = {
        **TABLE,
        "temperatures_C": [25.0, 125.0],
        "shift_uS": [*TABLE["shift_uS"], flat(-0.5), flat(-2.0), flat(-7.0)],
        "sigma_uS": [*TABLE["sigma_uS"], flat(0.3), flat(0.5), flat(0.9)],
    }
    found = read({**tables, "storage_C": at_C}, 100.0) if by_storage else read(tables, 100.0, at_C)
    # 100 s lie in the middle between 1 s and 10^4 s.
    shift = (1 - share) * -0.55 + share * -1.25
    sigma = (1 - share) * 0.2 + share * 0.4
    cells = found.numel()
    assert found.mean().item() - 20.0 == pytest.approx(shift, abs=4.5 * sigma / math.sqrt(cells))
    assert found.std().item() == pytest.approx(sigma, rel=4.5 / math.sqrt(2 * cells))


def test_the_kernels_compute_what_they_name_no_setting_for() -> None:
    tables = {
        **TABLE,
        "temperatures_C": [25.0, 125.0],
        "shift_uS": [],
        "sigma_uS": [*TABLE["sigma_uS"]] * 2,
    }
    assert not_programmed(device(drift=[tables])) == ("cell.drift",)
    for covered in (POWER_LAW, TABLE):
        assert not_programmed(device(drift=[{**covered, "activation_eV": 1.0}])) == ()
        hot = {**covered, "activation_eV": 1.0, "storage_C": 85.0}
        assert not_programmed(device(drift=[hot])) == ()


@pytest.mark.parametrize("drift", AGING, ids=lambda drift: drift["kind"])
def test_curves_of_a_profile_are_those_of_its_chips(drift: dict[str, Any]) -> None:
    hot = {**drift, "activation_eV": 0.5, "storage_C": 85.0, "spread_strength": 0.0}
    profile = device(drift=[hot], g_min_uS=15.0, temperature_C=25.0)
    (row,) = characteristics(profile, [20.0], [1000.0])
    assert row.g_mean_uS == pytest.approx(read(hot, 1000.0).mean().item(), rel=1e-4)
    if drift is POWER_LAW:
        assert row.drift_nu_mean == pytest.approx(0.049 * 358.15 / 298.15)


@pytest.mark.parametrize(
    ("drift", "message"),
    [
        ({**LOGARITHM, "storage_C": 85.0}, "has no effect while nothing depends on temperature"),
        ({**TABLE, "storage_C": 85.0}, "has no effect while nothing depends on temperature"),
        ({**TABLE, "temperatures_C": [25.0, 85.0]}, "at each of the 2 temperatures, not 3"),
        ({**TABLE, "temperatures_C": [85.0, 25.0]}, "the temperatures must be in ascending order"),
        ({**TABLE, "temperatures_C": [25.0], "activation_eV": 1.0}, "set either 'activation_eV'"),
        ({**TABLE, "activation_eV": -1.0}, "greater than or equal to 0"),
        ({**TABLE, "activation_eV": 5.0, "storage_C": 300.0}, "more than the limit of e\\^40"),
    ],
)
def test_what_contradicts_itself_is_refused(drift: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        device(drift=[drift])


def test_a_temperature_that_only_aging_depends_on_is_no_mistake() -> None:
    device(drift=[{**TABLE, "activation_eV": 1.0}], temperature_C=85.0)
    device(drift=[{**POWER_LAW, "storage_C": 85.0}], temperature_C=85.0)
    for nothing in (TABLE, {**TABLE, "activation_eV": 1.0, "storage_C": 60.0}, POWER_LAW):
        with pytest.raises(ValidationError, match="nothing in this profile depends on"):
            device(drift=[nothing], temperature_C=85.0)
