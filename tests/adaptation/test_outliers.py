"""Outliers are moved from inputs to weights: the DAC's error by hand, learned ranges, groups."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import cimsim
from cimsim.nn.input_gains import balancing_gains
from cimsim.profile import Profile, override_profile
from tests.adaptation.examples import error, programmed
from tests.building import device, gaussian

OUTLIER = 40.0


def uneven(count: int = 4096, features: int = 16) -> torch.Tensor:
    x = 2 * torch.rand(count, features, generator=torch.Generator().manual_seed(0)) - 1
    x[:, 3] *= OUTLIER
    return x


def by_peak(**settings: object) -> Profile:
    profile = device(dac=8, **settings)  # type: ignore[arg-type]
    return override_profile(profile, {"dac.range": {"kind": "max"}})


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_the_error_of_the_dac_is_that_of_its_steps(strength: float) -> None:
    """Rounding to steps of ``d`` has the variance ``d^2 / 12``; here of ``g d`` for each input."""
    torch.manual_seed(0)
    layer, x = nn.Linear(16, 8, bias=False), uneven()
    model = programmed(by_peak(), nn.Sequential(layer), x=x)
    peaks, largest = x.abs().amax(0), layer.weight.detach().abs().amax(0)
    gains = balancing_gains(peaks, largest, strength)
    step = (peaks / gains).max() / 127
    expected = ((step * gains).square() / 12 * layer.weight.detach().square()).sum(1).mean().sqrt()
    cimsim.adapt(model, [x], f"outliers:strength={strength}")
    torch.testing.assert_close(model[0].input_gains.gains, gains)
    assert error(model, nn.Sequential(layer), x) == pytest.approx(expected.item(), rel=0.03)


def test_the_error_falls_where_one_input_is_larger() -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(16, 8), uneven()
    model = programmed(by_peak(programming=[gaussian(0.003)]), nn.Sequential(layer), x=x)
    before = error(model, nn.Sequential(layer), x)
    result = cimsim.adapt(model, [x], "outliers")
    assert error(model, nn.Sequential(layer), x) < 0.6 * before
    assert result.total["added"] == 16
    assert result.total["written"] == 2 * 16 * 8
    assert result.total["batches"] == 0


def test_gains_are_found_by_group() -> None:
    torch.manual_seed(0)
    layer, x = nn.Conv1d(4, 6, 3, groups=2), torch.rand(64, 4, 9)
    x[:, 2] *= OUTLIER  # the first channel of the second group
    model = programmed(by_peak(), nn.Sequential(layer), x=x)
    before = error(model, nn.Sequential(layer), x)
    cimsim.adapt(model, [x], "outliers")
    gains = model[0].input_gains.gains
    peaks = x.abs().amax((0, 2))
    weights = layer.weight.detach().abs().amax(2).view(2, 3, 2).amax(1).flatten()
    torch.testing.assert_close(gains, balancing_gains(peaks, weights, 0.5))
    assert error(model, nn.Sequential(layer), x) < 0.6 * before


def test_a_learned_range_still_clips_the_inputs(tmp_path: Path) -> None:
    x = uneven(256)
    torch.manual_seed(0)
    model = cimsim.convert(nn.Sequential(nn.Linear(16, 8)), by_peak(), learn_ranges="dac")
    cimsim.program(cimsim.calibrate(model, [x]).eval(), 3)
    with torch.no_grad():
        model[0].dac_range.mul_(0.7)  # as if it was learned
    clip = model[0].dac_range.detach().clone()
    with cimsim.nn.digital(model):
        expected = model(x)
    for _ in range(2):
        cimsim.adapt(model, [x], "outliers")
        largest = x.abs().amax(0).minimum(clip) / model[0].input_gains.gains
        assert model[0].dac_range.item() == pytest.approx(largest.max().item(), rel=1e-5)
        assert torch.equal(model[0].input_gains.clip, clip)
        with cimsim.nn.digital(model):
            torch.testing.assert_close(model(x), expected)
    assert error(model, lambda _: expected, x) < 0.02 * expected.std().item()
    cimsim.save(model, tmp_path)
    again = cimsim.load(tmp_path, nn.Sequential(nn.Linear(16, 8))).eval()
    assert torch.equal(again(x), model(x))
    torch.testing.assert_close(cimsim.to_digital(model)(x), expected)


def test_a_second_time_continues_the_first() -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(16, 8), uneven(256)
    model = programmed(by_peak(), nn.Sequential(layer), x=x)
    cimsim.adapt(model, [x], "outliers")
    first = model[0].input_gains.gains.clone()
    result = cimsim.adapt(model, [x], "outliers")
    torch.testing.assert_close(model[0].input_gains.gains, first, rtol=1e-4, atol=1e-5)
    assert result.total["added"] == 0


@pytest.mark.parametrize("range_", [{"kind": "fixed", "full_scale": 1.0}, None])
def test_dacs_without_a_free_range_are_refused(range_: dict[str, object] | None) -> None:
    profile = override_profile(device(dac=8), {"dac.range": range_}) if range_ else device()
    model = programmed(profile, nn.Sequential(nn.Linear(16, 8)), x=uneven(64))
    with pytest.raises(cimsim.CimsimError, match="its DACs have no range, or a fixed one"):
        cimsim.adapt(model, [uneven(64)], "outliers")
