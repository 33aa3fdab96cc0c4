"""A device on which everything is wrong that can be, on layers of every shape."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import cimsim
from cimsim.profile import Profile, load_profile, override_profile
from tests.building import SOURCE


def everything(**more: object) -> Profile:
    def effect(**keys: object) -> dict[str, object]:
        return {**keys, "source": SOURCE}

    flat = {"kind": "polynomial", "coefficients": [0.001]}
    return override_profile(
        load_profile("pcm-ibm-2020"),
        {
            "cell.g_min_uS": 1.0,
            "cell.levels": 16,
            "cell.write_verify": effect(tolerance_uS=1.0),
            "cell.faults": [
                effect(kind="stuck", at="random", rate=0.01),
                effect(kind="dead-lines", row_rate=0.01, column_rate=0.01),
                effect(kind="map", cells=[[0, 0, 0, 5.0]]),
            ],
            "cell.temperature": [
                effect(kind="linear", reference_C=25.0, g_ref_uS=1.0, alpha_per_K=flat)
            ],
            "temperature_C": 60.0,
            "cell.endurance": effect(
                kind="tabulated",
                cycles=1e4,
                cycles_of_table=[1e3, 1e6],
                spread_factor=[1.0, 1.5],
                g_low_uS=[1.0, 1.5],
                g_high_uS=[25.0, 24.0],
            ),
            "cell.variation": [
                effect(
                    kind="correlated", sigma_of_g=0.01, length_in_rows=4.0, length_in_columns=4.0
                ),
                effect(kind="tile", sigma_gain=0.01, sigma_offset_of_g_max=1e-3),
            ],
            "cell.drift.0.storage_C": 85.0,
            "cell.drift.0.device_share": 0.5,
            "cell.programming_noise.0.device_share": 0.5,
            "cell.read_noise": [
                effect(kind="telegraph", share_of_cells=0.1, step_of_g=0.2),
                effect(kind="thermal", v_read_V=0.2, t_read_ns=100.0),
            ],
            "cell.iv": effect(kind="sinh", v_read_V=0.2, k_per_V=3.0),
            "array.rows": 16,
            "array.columns": 16,
            "array.mapping": "offset-column",
            "array.slices": 2,
            "array.weight_scale": "tile",
            "array.drift_compensation": "per-column",
            "array.drift_probe": "measured",
            "dac.bits": 5,
            "dac.bit_serial": True,
            "adc.bits": 7,
            "adc.noise_of_range": 0.005,
            "adc.range_per": "tile",
            "adc.columns_per_adc": 3,
            "adc.errors": [
                effect(kind="gain", sigma=0.02),
                effect(kind="offset", sigma_of_range=0.01),
                effect(kind="compression", n=0.1),
                effect(kind="sar", sigma_unit=0.05),
                effect(kind="temperature", reference_C=25.0, gain_per_K=1e-4),
            ],
            "wires": effect(r_word_ohm=1.0, r_bit_ohm=2.0, r_source_ohm=10.0, r_sink_ohm=10.0),
            **more,
        },
    )


LAYERS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(40, 50), (5, 40)),
    "one weight": (lambda: nn.Linear(1, 1), (3, 1)),
    "grouped conv": (lambda: nn.Conv2d(4, 6, 3, padding=1, groups=2), (2, 4, 7, 5)),
    "pointwise conv": (lambda: nn.Conv2d(3, 1, 1), (2, 3, 4, 4)),
}
PROFILES = {
    "passive": everything(),
    "gated": everything(
        wires={"cells": "gated", "r_bit_ohm": 2.0, "r_supply_ohm": 1.0, "source": SOURCE}
    ),
    "learned": everything(**{"dac.range": {"kind": "learned"}, "adc.range": {"kind": "learned"}}),
    "single": everything(**{"array.mapping": "single-device"}),
    "current": everything(**{"array.mapping": "offset-current"}),
    "pairs": everything(**{"array.mapping": "differential-pair", "array.weight_scale": "layer"}),
}


@pytest.mark.parametrize("device", PROFILES)
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("rule", ["F", "C"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_trains_and_runs(device: str, layer: str, rule: str, dtype: torch.dtype) -> None:
    make, shape = LAYERS[layer]
    torch.manual_seed(0)
    x = torch.randn(shape).to(dtype)
    model = cimsim.calibrate(cimsim.convert(make().to(dtype), PROFILES[device], rule=rule), [x])
    model.train()(x.clone().requires_grad_()).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
    model.eval()
    results = []
    for _ in range(2):
        cimsim.age(cimsim.program(model, seed=1), "1 day")
        with torch.no_grad():
            results.append(model(x))
            assert model(x[:1]).shape == results[0][:1].shape
            assert model(x[:0]).shape == results[0][:0].shape
            with torch.autocast("cpu", dtype=torch.bfloat16):
                low = torch.bfloat16 if dtype is torch.float32 else torch.float32
                assert model(x.float()).dtype == low  # autocast casts no float64 weights
    assert torch.equal(*results)
    assert results[0].dtype == dtype
    assert torch.isfinite(results[0]).all()


def test_the_weights_are_still_recognizable() -> None:
    torch.manual_seed(0)
    digital = nn.Linear(40, 50, bias=False)
    x = torch.randn(500, 40)
    for device, profile in PROFILES.items():
        model = cimsim.calibrate(cimsim.convert(digital, profile), [x]).eval()
        cimsim.program(model, seed=1)
        with torch.no_grad():
            y, wanted = model(x).flatten(), digital(x).flatten()
        correlation = torch.corrcoef(torch.stack((y, wanted)))[0, 1].item()
        assert correlation > 0.75, (device, correlation)
