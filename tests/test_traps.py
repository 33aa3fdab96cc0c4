"""What went wrong in other simulators, as tests of ours, through the public path."""

from __future__ import annotations

import io
import math

import pytest
import torch
from torch import Tensor, nn

import cimsim
from cimsim.nn import AnalogLayer
from cimsim.profile import Profile, load_profile, override_profile, profile_names
from tests.building import ONE_OVER_F, POLYNOMIAL, SOURCE, device


def layer_on(profile: Profile | str, inputs: int = 8, outputs: int = 4) -> AnalogLayer:
    digital = nn.Linear(inputs, outputs, bias=False, dtype=torch.float64)
    with torch.no_grad():
        digital.weight.uniform_(-1, 1, generator=torch.Generator().manual_seed(0))
    layer = cimsim.convert(digital, profile)
    assert isinstance(layer, AnalogLayer)
    return layer.eval()


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


@pytest.mark.parametrize(("low", "high"), [(0.01, 0.0), (0.01, 0.01), (0.0, 0.05), (0.3, 0.5)])
def test_stuck_rates_are_the_rates_asked_for(low: float, high: float) -> None:
    """Elsewhere 1 % and 0 % made 0.01 %, and 1 % and 1 % made 0.02 % and 1.98 %."""
    faults = [
        {"kind": "stuck", "at": "g_min", "rate": low, "source": SOURCE},
        {"kind": "stuck", "at": "g_max", "rate": high, "source": SOURCE},
    ]
    profile = override_profile(device(g_min_uS=5.0), {"cell.faults": faults})
    n = 200_000
    layer = layer_on(profile, 2, n)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([1.0, 0.5]))
    cimsim.program(layer, seed=3)
    held = layer.programmed_weight()[:, 1]
    # G+ is 0.5, 0 (stuck low) or 1 (stuck high); G- is 0 or 1 (stuck high): weights by hand.
    healthy = 1 - low - high
    expected = {
        0.5: healthy * (1 - high),
        -0.5: healthy * high,
        0.0: low * (1 - high) + high * high,
        -1.0: low * high,
        1.0: high * (1 - high),
    }
    for weight, share in expected.items():
        found = (held - weight).abs().lt(1e-9).double().mean().item()
        assert found == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / n) + 1e-9)


@pytest.mark.parametrize("bits", [2, 4, 6, 8])
def test_an_adc_has_as_many_codes_as_its_bits_say(bits: int) -> None:
    layer = layer_on(device(adc=bits), 1, 1)
    cimsim.calibrate(layer, [torch.linspace(-1, 1, 1001, dtype=torch.float64).view(-1, 1)])
    with torch.no_grad():
        y = layer(torch.linspace(-9, 9, 20_001, dtype=torch.float64).view(-1, 1))
    assert len(y.unique()) == 2**bits


def test_read_noise_is_drawn_for_every_vector_of_a_batch() -> None:
    """Elsewhere one draw served a whole batch, all images and windows of it."""
    layer = layer_on(device(read=[ONE_OVER_F]))
    x = draw(1, 8).expand(4000, 8)
    with torch.no_grad():
        y = layer(x)
        again = layer(x)
    noise = y - y.mean(0)
    assert noise.std(0).min() > 0
    neighbors = torch.corrcoef(torch.stack((noise[:-1, 0], noise[1:, 0])))[0, 1]
    reads = torch.corrcoef(torch.stack((y[:, 0], again[:, 0])))[0, 1]
    assert max(abs(neighbors), abs(reads)) < 4 / math.sqrt(4000)


@pytest.mark.parametrize("name", profile_names())
def test_one_sample_never_changes_its_neighbors(name: str) -> None:
    layer = layer_on(name)
    x = draw(16, 8)
    cimsim.calibrate(layer, [x])
    louder = x.clone()
    louder[5] *= 100
    with torch.no_grad():
        one = cimsim.program(layer, seed=1)(x)
        other = cimsim.program(layer, seed=1)(louder)
    rest = [i for i in range(16) if i != 5]
    assert torch.equal(one[rest], other[rest])


@pytest.mark.parametrize("name", profile_names())
@pytest.mark.parametrize("time", [0, 1e-6, "1 s", "10y"])
def test_every_age_is_defined_on_every_device(name: str, time: float | str) -> None:
    layer = layer_on(name)
    x = draw(5, 8)
    cimsim.calibrate(layer, [x])
    cimsim.age(cimsim.program(layer), time)
    with torch.no_grad():
        assert torch.isfinite(layer(x)).all()
        assert torch.isfinite(layer(x[:1])).all()


@pytest.mark.parametrize("name", profile_names())
def test_noise_never_creeps_into_the_weights(name: str) -> None:
    layer = layer_on(name)
    x = draw(5, 8)
    cimsim.calibrate(layer, [x])
    before = layer.weight.detach().clone()
    for _ in range(3):
        layer.train()(x).sum().backward()
    assert torch.equal(layer.weight, before)
    assert layer.weight.grad is not None
    assert torch.isfinite(layer.weight.grad).all()


@pytest.mark.parametrize("name", profile_names())
def test_a_state_is_made_of_tensors_and_loads_safely(name: str) -> None:
    layer, again = layer_on(name), layer_on(name)
    x = draw(5, 8)
    cimsim.calibrate(layer, [x])
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    again.load_state_dict(torch.load(file, weights_only=True))
    with torch.no_grad():
        assert torch.equal(cimsim.program(again)(x), cimsim.program(layer)(x))


def test_a_strength_of_zero_is_a_cell_that_keeps_what_was_written() -> None:
    for name in profile_names():
        profile = load_profile(name).scale_noise(0.0)
        quiet = {f"cell.drift.{index}.strength": 0.0 for index in range(len(profile.cell.drift))}
        layer = layer_on(
            override_profile(profile, {**quiet, "cell.levels": None, "array.slices": 1})
        )
        cimsim.age(cimsim.program(layer, seed=5), "1y")
        assert torch.allclose(layer.programmed_weight(), layer.weight.detach(), atol=1e-12), name


def test_the_scale_of_noise_is_that_of_the_column() -> None:
    """A column of small weights uses the whole range of its cells, so its noise is small too."""
    profile = device(programming=[POLYNOMIAL])
    digital = nn.Linear(4, 200_000, bias=False, dtype=torch.float64)
    with torch.no_grad():
        digital.weight.copy_(torch.tensor([1.0, 0.5, -0.5, 0.0]) * 1e-3)
    layer = cimsim.convert(digital, profile)
    assert isinstance(layer, AnalogLayer)
    held = cimsim.program(layer.eval()).programmed_weight()  # type: ignore[operator]
    assert held[:, 1].std().item() < 1e-3 * 0.05


def test_temperature_moves_what_is_read() -> None:
    linear = {
        "kind": "linear",
        "reference_C": 25.0,
        "g_ref_uS": 25.0,
        "alpha_per_K": {"kind": "polynomial", "coefficients": [0.002]},
        "source": SOURCE,
    }
    profile = override_profile(device(), {"cell.temperature": [linear], "temperature_C": 75.0})
    layer = layer_on(profile)
    cimsim.program(layer)
    assert torch.allclose(layer.programmed_weight(), layer.weight.detach() * 1.1)
