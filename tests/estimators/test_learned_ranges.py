"""Ranges as parameters: their gradient is that of learned step size quantization."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import cimsim
from cimsim import kernels
from cimsim.array import plain
from cimsim.errors import CimsimError
from cimsim.estimators import RULES
from cimsim.kernels import use
from cimsim.nn import AnalogLayer
from cimsim.profile import Profile, override_profile
from tests.building import ONE_OVER_F, POLYNOMIAL, device

LEARNED = {"kind": "learned"}


def learned(profile: Profile, **keys: object) -> Profile:
    chosen = {"dac.range": LEARNED, "adc.range": LEARNED} | {
        key.replace("__", "."): value for key, value in keys.items()
    }
    return override_profile(profile, chosen)


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def layer_on(profile: Profile, rule: str = "E", conv: bool = False) -> tuple[AnalogLayer, Tensor]:
    if conv:
        digital: nn.Module = nn.Conv2d(4, 6, 3, padding=1, bias=False)
        x = draw(2, 4, 5, 5, seed=0)
    else:
        digital, x = nn.Linear(12, 5, bias=False), draw(6, 12, seed=0)
    with torch.no_grad():
        digital.weight.copy_(draw(*digital.weight.shape, seed=1))
    layer = cimsim.convert(digital.double(), profile, rule=rule)
    assert isinstance(layer, AnalogLayer)
    with torch.no_grad():
        layer.dac_range.fill_(1.5)
        layer.adc_range.fill_(1.0)
    return layer.eval(), x


def quantized(v: Tensor, full_scale: Tensor, levels: int, lowest: int) -> Tensor:
    """Rounding passed straight through, with plain autograd in value and range."""
    step = full_scale / levels
    steps = (v / step).clamp(lowest, levels)
    return (steps + (steps.round() - steps).detach()) * step


@pytest.mark.parametrize("conv", [False, True])
@pytest.mark.parametrize("per", ["layer", "tile"])
def test_gradients_of_the_ranges(conv: bool, per: str) -> None:
    layer, x = layer_on(learned(device(dac=4, adc=5, rows=9 * 2), adc__range_per=per), conv=conv)
    layer(x).square().sum().backward()
    dac, adc = (r.detach().clone().requires_grad_() for r in (layer.dac_range, layer.adc_range))
    tiling = layer.tiling(layer, layer.profile.array)
    cells = tiling.to_cells(layer.weight.detach())
    scale = cells.abs().amax(2, keepdim=True)
    z = tiling.product(quantized(x, dac, 7, -7), cells / scale)
    limits = adc.expand(cells.shape[0]).unsqueeze(-1).expand(scale.shape[:2])
    currents = quantized(z, tiling.per_column(limits), 15, -16)
    tiling.accumulate(currents * tiling.per_column(scale.squeeze(-1))).square().sum().backward()
    assert layer.dac_range.grad is not None
    assert layer.adc_range.grad is not None
    assert dac.grad is not None
    assert adc.grad is not None
    assert torch.allclose(layer.adc_range.grad, adc.grad.float(), rtol=1e-5)
    assert torch.allclose(layer.dac_range.grad, dac.grad.float(), rtol=1e-5)


@pytest.mark.parametrize("conv", [False, True])
@pytest.mark.parametrize("rule", RULES)
def test_the_kernels_compute_the_gradient_of_the_dac_range(
    rule: str, conv: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = override_profile(device(dac=4, adc=5, rows=9 * 2), {"dac.range": LEARNED})
    layer, x = layer_on(profile, rule, conv)
    layer, x = layer.float(), x.float()

    def gradients() -> list[Tensor]:
        """Those of weight, range and input."""
        given, operands = x.clone().requires_grad_(), (layer.weight, layer.dac_range)
        output = layer(given).square().sum()
        return list(torch.autograd.grad(output, (*operands, given)))

    with use("torch"):
        expected = gradients()
    if kernels.active(x) is not None:
        monkeypatch.setattr(plain, "read", None)  # which would be an error if it were called
    for ours, theirs in zip(gradients(), expected, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-5 * float(theirs.abs().max()))


def test_training_finds_better_ranges_than_it_began_with() -> None:
    profile = learned(device(dac=4, adc=4, programming=[POLYNOMIAL], read=[ONE_OVER_F]))
    layer, x = layer_on(profile, rule="F")
    wanted = F.linear(x, layer.weight.detach())
    with torch.no_grad():
        layer.dac_range.fill_(0.3)
        layer.adc_range.fill_(40.0)
    layer.weight.requires_grad_(False)
    optimizer = torch.optim.Adam([layer.dac_range, layer.adc_range], lr=0.3)
    errors = []
    for _ in range(150):
        optimizer.zero_grad()
        error = (layer.train()(x) - wanted).square().mean()
        error.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        errors.append(error.item())
    assert sum(errors[-20:]) < 0.25 * sum(errors[:1]) * 20
    assert layer.dac_range > 0.8
    assert layer.adc_range < 30


def test_calibration_sets_where_they_begin_and_a_state_brings_them_back() -> None:
    layer, x = layer_on(learned(device(dac=8, adc=8)))
    cimsim.calibrate(layer, [x])
    assert isinstance(layer.dac_range, nn.Parameter)
    assert 1.0 < layer.dac_range <= x.abs().max().float()
    again, _ = layer_on(learned(device(dac=8, adc=8)))
    again.load_state_dict(layer.state_dict())
    assert torch.equal(again.dac_range, layer.dac_range)
    assert torch.equal(again(x), layer(x))


def test_the_learned_range_of_inputs_stays_on_another_chip() -> None:
    """It is in units of the input, so that it does not depend on tiles or bits."""
    layer, x = layer_on(learned(device(dac=8, adc=8)))
    cimsim.calibrate(layer, [x])
    with torch.no_grad():
        layer.dac_range.fill_(0.75)
    before = layer.adc_range.detach().clone()
    layer.profile = learned(device(dac=4, adc=6, rows=4))
    cimsim.calibrate(layer, [x], missing=True)
    assert layer.dac_range.item() == 0.75
    assert not torch.equal(layer.adc_range, before)
    layer.profile = device(dac=4, adc=6)
    cimsim.calibrate(layer, [x], missing=True)
    assert layer.dac_range.item() > 1.0


def test_convert_makes_ranges_parameters() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    layers = {"2": {"profile": "reram-wan-2022"}}
    model = cimsim.convert(net, "pcm-ibm-2020", learn_ranges="dac", layers=layers)
    learned = {name for name, _ in model.named_parameters() if name.endswith("_range")}
    assert learned == {"0.dac_range", "2.dac_range"}
    both = cimsim.convert(net, "pcm-ibm-2020", learn_ranges=("dac", "adc"))
    assert len([name for name, _ in both.named_parameters() if name.endswith("_range")]) == 4
    with pytest.raises(CimsimError, match="unknown converter in learn_ranges 'adcs'; did you mean"):
        cimsim.convert(net, "pcm-ibm-2020", learn_ranges=["adcs"])
    with pytest.raises(CimsimError, match="learn_ranges must be 'dac', 'adc' or both, not a bool"):
        cimsim.convert(net, "pcm-ibm-2020", learn_ranges=True)  # type: ignore[type-var]


def test_bits_of_an_input_share_in_the_gradient_of_the_range() -> None:
    """An ADC that is too narrow for every bit: the output follows its range in proportion."""
    profile = learned(device(dac=4, adc=8), dac__bit_serial=True)
    layer, x = layer_on(profile)
    x = x.abs() + 2.0
    with torch.no_grad():
        layer.weight.abs_().add_(1.0)
        layer.adc_range.fill_(1e-3)
    y = layer(x).sum()
    y.backward()
    assert layer.adc_range.grad is not None
    assert (layer.adc_range.grad * 1e-3).item() == pytest.approx(y.item(), rel=1e-4)


def test_a_range_past_zero_is_survived() -> None:
    layer, x = layer_on(learned(device(dac=8, adc=8)))
    with torch.no_grad():
        layer.dac_range.fill_(-1.0)
    assert torch.isfinite(layer(x)).all()
