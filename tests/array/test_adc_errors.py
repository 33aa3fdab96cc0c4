"""Every error of an ADC acts on whole layers, whichever kernels program the cells."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import cimsim
from cimsim.profile import Profile
from tests.building import ADC_ERRORS, SOURCE, device, gaussian

NAMES = [error["kind"] for error in ADC_ERRORS]


def with_error(error: dict[str, Any] | None, noise: float) -> Profile:
    made = device(dac=8, adc=6, programming=[gaussian(noise)] if noise else None)
    data = made.model_dump()
    data["adc"]["errors"] = [{"source": SOURCE, **error}] if error else []
    return Profile.model_validate(data)


def layer(profile: Profile, dtype: torch.dtype) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    x = torch.randn(16, 12, dtype=dtype)
    model = cimsim.convert(nn.Linear(12, 5).to(dtype), profile)
    return cimsim.calibrate(model, [x]), x


@pytest.mark.parametrize("noise", [0.0, 0.01])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("error", ADC_ERRORS, ids=NAMES)
def test_it_acts_in_training_and_evaluation(
    error: dict[str, Any], dtype: torch.dtype, noise: float
) -> None:
    wrong, x = layer(with_error(error, noise), dtype)
    right, _ = layer(with_error(None, noise), dtype)
    for mode in (True, False):
        found, expected = (cimsim.program(m, 3).train(mode)(x) for m in (wrong, right))
        assert found.isfinite().all()
        assert (found - expected).abs().max() > 0.02 * expected.abs().max()
        found.square().mean().backward()


@pytest.mark.parametrize("error", ADC_ERRORS, ids=NAMES)
def test_it_is_the_same_with_and_without_kernels(
    error: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = with_error(error, 0.0)
    fused, x = layer(profile, torch.float32)
    found = cimsim.program(fused.eval(), 3)(x)
    monkeypatch.setattr("cimsim.array.array.active", lambda *tensors: None)
    plain, _ = layer(profile, torch.float32)
    expected = cimsim.program(plain.eval(), 3)(x)
    # A value at the edge of a code may fall on its other side.
    assert ((found - expected).abs() < 1e-4).float().mean() > 0.97
