"""Backward rules: each against its definition, on linear and convolutional layers."""

import re

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cimsim.array import Array, ConverterRanges
from cimsim.array.tiling import ConvGeometry, ConvTiling, LinearTiling
from cimsim.errors import CimsimError
from cimsim.estimators import RULES, MvmCall, analog_matmul, backward_rule
from cimsim.profile import Profile, override_profile
from cimsim.rule_names import RULE_NAMES
from tests.building import ONE_OVER_F, POLYNOMIAL, POWER_LAW, device

AGE_S = 3600.0
STATIC = {"programming": [POLYNOMIAL], "drift": [POWER_LAW]}
GEOMETRY = ConvGeometry(4, 6, (3, 3), (2, 1), (1, 1), (1, 1), 2)


def draw(*shape: int, seed: int) -> Tensor:
    draws = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=draws, dtype=torch.float64)


class Layer:
    """A layer's pieces: the array, its operands, and the plain torch product."""

    def __init__(self, kind: str, profile: Profile) -> None:
        if kind == "linear":
            tiling, x, w = (
                LinearTiling(12, profile.array.rows),
                draw(6, 12, seed=0),
                draw(5, 12, seed=1),
            )
            self.product = F.linear
        else:
            tiling = ConvTiling(GEOMETRY, profile.array.rows)
            x, w = draw(2, 4, 6, 6, seed=0), draw(6, 2, 3, 3, seed=1)
            self.product = lambda x, w: F.conv2d(x, w, None, (2, 1), (1, 1), (1, 1), 2)
        self.array = Array(profile, tiling)
        self.x, self.w = x.requires_grad_(), w.requires_grad_()
        self.ranges = ConverterRanges(torch.tensor(1.5).double(), torch.tensor(1.0).double())

    def gradients(self, rule: str) -> tuple[Tensor, Tensor, Tensor]:
        """``(delta, dL/dx, dL/dW)`` for a random ``delta``."""
        call = MvmCall(self.array, backward_rule(rule), self.ranges, 3, AGE_S, 4)
        y = analog_matmul(self.x, self.w, None, call)
        delta = draw(*y.shape, seed=2)
        dx, dw = torch.autograd.grad(y, (self.x, self.w), delta)
        return delta, dx, dw

    def programmed(self, w: Tensor) -> Tensor:
        return self.array.tiling.from_cells(self.array.effective_weight(w, 3, AGE_S))


@pytest.fixture(params=["linear", "conv"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[512, 9], ids=["one tile", "several tiles"])
def rows(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def test_c_is_the_digital_layers_gradient(kind: str, rows: int) -> None:
    layer = Layer(kind, device(rows=rows, **STATIC, read=[ONE_OVER_F], adc=4))
    delta, dx, dw = layer.gradients("C")
    y = layer.product(layer.x, layer.w)
    expected_dx, expected_dw = torch.autograd.grad(y, (layer.x, layer.w), delta)
    assert torch.allclose(dx, expected_dx, rtol=1e-12, atol=1e-12)
    assert torch.allclose(dw, expected_dw, rtol=1e-12, atol=1e-12)


def test_c_on_a_linear_layer_word_for_word() -> None:
    layer = Layer("linear", device(**STATIC))
    delta, dx, dw = layer.gradients("C")
    assert torch.allclose(dw, delta.T @ layer.x)
    assert torch.allclose(dx, delta @ layer.w)


def test_b_uses_the_programmed_weights_for_the_input(kind: str, rows: int) -> None:
    layer = Layer(kind, device(rows=rows, **STATIC, read=[ONE_OVER_F], adc=4))
    delta, dx, dw = layer.gradients("B")
    held = layer.programmed(layer.w).detach().requires_grad_()
    assert not torch.allclose(held, layer.w)
    y = layer.product(layer.x, held)
    expected_dx, expected_dw = torch.autograd.grad(y, (layer.x, held), delta)
    assert torch.allclose(dx, expected_dx, rtol=1e-12, atol=1e-12)
    assert torch.allclose(dw, expected_dw, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rule", ["A", "F"])
def test_a_and_f_are_the_true_gradient_at_fixed_draws(rule: str, kind: str, rows: int) -> None:
    """Finite differences of the forward itself; without converters the response is smooth."""
    layer = Layer(kind, device(rows=rows, **STATIC))
    call = MvmCall(layer.array, backward_rule(rule), layer.ranges, 3, AGE_S, 4)
    assert torch.autograd.gradcheck(
        lambda x, w: analog_matmul(x, w, None, call), (layer.x, layer.w)
    )


def mean_response(layer: Layer, x: Tensor, w: Tensor) -> Tensor:
    """``clip(W clip(x))`` with the ADC's clipping on every tile, written with plain autograd."""
    inside = x.clamp(-layer.ranges.dac, layer.ranges.dac)
    dac = layer.array.dac
    assert dac is not None
    step = layer.ranges.dac / dac.levels
    coded = inside + ((inside / step).round() * step - inside).detach()
    tiling = layer.array.tiling
    z = tiling.product(coded, tiling.to_cells(w))
    scale = tiling.per_column(tiling.to_cells(layer.w).detach().abs().amax(-1))
    if not torch.equal(w, layer.w):  # F: the digital scale carries the drift compensation
        scale = tiling.per_column(layer.array.chip(layer.w, 3, AGE_S).scale.detach())
    bound = layer.ranges.adc * scale
    return tiling.accumulate(torch.minimum(torch.maximum(z, -bound), bound))


@pytest.mark.parametrize("rule", ["E", "F"])
def test_e_and_f_are_autograd_of_their_mean_response(rule: str, kind: str, rows: int) -> None:
    # One draw of the chip; no read noise, and an ADC fine enough that rounding cannot move a value
    # across the edge of the range.
    layer = Layer(kind, device(rows=rows, **STATIC if rule == "F" else {}, dac=8, adc=16))
    delta, dx, dw = layer.gradients(rule)
    w = layer.w if rule == "E" else layer.programmed(layer.w)
    y = mean_response(layer, layer.x, w)
    expected_dx, expected_dw = torch.autograd.grad(y, (layer.x, layer.w), delta)
    assert (dx == 0).any()  # the DAC clips
    assert torch.allclose(dx, expected_dx, rtol=1e-9, atol=1e-9)
    assert torch.allclose(dw, expected_dw, rtol=1e-9, atol=1e-9)
    plain = layer.gradients("A" if rule == "F" else "C")[2]
    assert not torch.allclose(dw, plain)  # the ADC clips


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_is_the_digital_gradient_on_an_ideal_device(rule: str, kind: str) -> None:
    layer = Layer(kind, device())
    delta, dx, dw = layer.gradients(rule)
    y = layer.product(layer.x, layer.w)
    expected_dx, expected_dw = torch.autograd.grad(y, (layer.x, layer.w), delta)
    assert torch.allclose(dx, expected_dx)
    assert torch.allclose(dw, expected_dw)


@pytest.mark.parametrize("rule", RULES)
def test_gradients_are_reproducible(rule: str) -> None:
    layer = Layer("linear", device(**STATIC, read=[ONE_OVER_F], dac=8, adc=8))
    first, second = layer.gradients(rule), layer.gradients(rule)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_first_layer_makes_no_input_gradient() -> None:
    layer = Layer("linear", device(**STATIC))
    call = MvmCall(layer.array, backward_rule("F"), layer.ranges, 3, AGE_S, 4)
    y = analog_matmul(layer.x.detach(), layer.w, None, call)
    y.sum().backward()
    assert layer.w.grad is not None


def test_frozen_weights_still_pass_the_gradient_on() -> None:
    layer = Layer("linear", device(**STATIC))
    call = MvmCall(layer.array, backward_rule("F"), layer.ranges, 3, AGE_S, 4)
    y = analog_matmul(layer.x, layer.w.detach(), None, call)
    (dx,) = torch.autograd.grad(y.sum(), layer.x)
    assert torch.allclose(dx, layer.programmed(layer.w).detach().sum(0).expand_as(dx))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("size", [0.0, 2.8e-39, 1e-20])
def test_a_column_of_nothing_is_harmless(rule: str, size: float) -> None:
    """Seen in training: a dead channel of subnormal weights turned every gradient into NaN."""
    array = Array(device(**STATIC, read=[ONE_OVER_F], dac=8, adc=8), LinearTiling(12, 512))
    x = draw(6, 12, seed=0).float().requires_grad_()
    w = draw(5, 12, seed=1).float()
    w[2] = size
    w.requires_grad_()
    ranges = ConverterRanges(torch.tensor(3.0), torch.tensor(4.0))
    y = analog_matmul(x, w, None, MvmCall(array, backward_rule(rule), ranges, 3, AGE_S, 4))
    assert (y[:, 2].abs() < 1e-15).all()
    dx, dw = torch.autograd.grad(y.sum(), (x, w))
    assert torch.isfinite(dx).all()
    assert torch.isfinite(dw).all()


def test_rules_by_letter_and_by_name() -> None:
    assert backward_rule("f") is RULES["F"]
    assert [rule.name for rule in RULES.values()] == list(RULE_NAMES.values())
    for letter, name in RULE_NAMES.items():
        assert backward_rule(name) is backward_rule(name.upper()) is RULES[letter]
    for unknown in ("D", "ste", 3):
        with pytest.raises(
            CimsimError, match=re.escape(f"'{unknown}'; choose one of A (autograd)")
        ):
            backward_rule(unknown)


def test_weights_changed_before_backward_are_noticed() -> None:
    layer = Layer("linear", device(**STATIC))
    weight = nn.Parameter(layer.w.detach().clone())
    call = MvmCall(layer.array, backward_rule("F"), layer.ranges, 3, AGE_S, 4)
    y = analog_matmul(layer.x, weight, None, call)
    with torch.no_grad():
        weight.add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


# Several ADC conversions for one output: slices of a weight, bits of an input.

SPLIT = {
    "cell.levels": 64,
    "array.slices": 2,
    "array.mapping": "offset-column",
    "dac.bit_serial": True,
}


def split(profile: Profile) -> Profile:
    return override_profile(profile, SPLIT)


@pytest.mark.parametrize("rule", ["A", "B", "C"])
def test_rules_without_slopes_do_not_see_the_split(rule: str, kind: str, rows: int) -> None:
    whole = Layer(kind, device(rows=rows, dac=8))
    parts = Layer(kind, split(device(rows=rows, dac=8)))
    for one, other in zip(whole.gradients(rule), parts.gradients(rule), strict=True):
        assert torch.allclose(one, other, rtol=0, atol=2e-2)  # the weights' 64^2 states


@pytest.mark.parametrize("rule", ["E", "F"])
def test_a_conversion_that_saturates_passes_nothing(rule: str, kind: str, rows: int) -> None:
    open_, narrow = (Layer(kind, split(device(rows=rows, dac=4, adc=8))) for _ in range(2))
    open_.ranges = ConverterRanges(torch.tensor(9.0).double(), torch.tensor(1e3).double())
    narrow.ranges = ConverterRanges(torch.tensor(9.0).double(), torch.tensor(1e-9).double())
    free = Layer(kind, split(device(rows=rows, dac=4)))
    free.ranges = open_.ranges
    expected = free.gradients("A" if rule == "F" else "C")
    for one, other in zip(open_.gradients(rule), expected, strict=True):
        assert torch.allclose(one, other)
    _, dx, dw = narrow.gradients(rule)
    assert dw.abs().sum() < 0.3 * expected[2].abs().sum()
    assert dx.abs().sum() < expected[1].abs().sum()  # bits that are idle everywhere stay open


def test_the_slope_of_each_bit_counts_by_its_weight() -> None:
    """One weight, one input of code 5 = 101: bits 1 and 4 saturate the ADC, bit 2 is idle."""
    profile = override_profile(device(dac=4, adc=4), {"dac.bit_serial": True})
    array = Array(profile, LinearTiling(1, 512))
    x = torch.tensor([[5.0]], dtype=torch.float64, requires_grad=True)
    w = torch.tensor([[2.0]], dtype=torch.float64, requires_grad=True)
    for limit, share in ((0.5, 2 / 7), (1.5, 1.0)):
        ranges = ConverterRanges(torch.tensor(7.0).double(), torch.tensor(limit).double())
        y = analog_matmul(x, w, None, MvmCall(array, backward_rule("E"), ranges, 0, 0.0, 0))
        dx, dw = torch.autograd.grad(y.sum(), (x, w))
        assert dx.item() == pytest.approx(2.0 * share)
        assert dw.item() == pytest.approx(0.0 if limit == 0.5 else 5.0)
