"""The default rule is the derivative of the mean output, for every setting of a profile.

Finite differences of the outputs themselves, on the path of a user; the cases are generated from
the models of a profile, so that an effect added later is among them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

import cimsim
from cimsim import kernels
from cimsim.array import Array, Circuit, LinearTiling
from cimsim.nn.layer import AnalogLayer
from cimsim.profile import Profile
from tests.building import ADC_ERRORS, SOURCE
from tests.schema import SINH, Case, Raw
from tests.test_every_setting import BASE, CASES, DAY_S, PATTERNS, inputs

FINE = {**BASE, "dac": {"bits": 16}, "adc": {"bits": 16}}  # steps far below the differences
CHIPS = 6
# The rule neglects the resistance of a gated cell's lines in the input's gradient.
NEGLECTED = {"cells=gated": 0.06, "r_supply_ohm": 0.25}


def rounds(profile: Profile) -> bool:
    """Whether coarse steps, through which all rules go straight, or saturation, whose slope jumps,
    hide the slope of the mean."""
    coarse = min(profile.dac.bits or 16, profile.adc.bits or 16) < 16
    coarse |= profile.cell.levels is not None or profile.array.slices > 1
    return coarse or profile.adc.codes.kind != "uniform" or profile.adc.range.kind == "k-sigma"


def is_variant(case: Case) -> bool:
    """Whether it is another strength or parameter of an effect that has a case of its own."""
    return case.name.startswith(("cell", "adc")) and case.name.count(".") > 2


SMOOTH = [
    pytest.param(case, marks=[pytest.mark.long] * is_variant(case), id=case.name)
    for case in CASES
    if not case.of_a_curve and not rounds(case.profile(FINE))
]


class Measured(NamedTuple):
    """Differences of outputs, and the same by the rule's gradient; and the gradient's size."""

    differences: tuple[float, float]
    by_rule: tuple[float, float]
    size: tuple[float, float]


def layer(profile: Profile, x: Tensor) -> AnalogLayer:
    digital = nn.Linear(12, 8, bias=False, dtype=torch.float64)
    with torch.no_grad():
        digital.weight.copy_(PATTERNS.repeat_interleave(2, 0))
    made = cimsim.calibrate(cimsim.convert(digital, profile), [x])
    assert isinstance(made, AnalogLayer)
    for full_scale in (made.dac_range, made.adc_range):
        full_scale.data.mul_(1.3)  # nothing saturates
    return made.eval()


def measure(made: AnalogLayer, x: Tensor, chip: int) -> Measured:
    draws = torch.Generator().manual_seed(5)
    weight = made.weight.detach().clone()
    step = 0.05 if made.profile.dac.bit_serial else 0.02  # single bits are coarse
    aside = torch.randn(weight.shape, generator=draws, dtype=x.dtype) * 0.3
    away = torch.randn(x.shape, generator=draws, dtype=x.dtype) * x
    delta = torch.randn(len(x), len(weight), generator=draws, dtype=x.dtype)

    def loss(at: Tensor, held: Tensor) -> Tensor:
        with torch.no_grad():
            made.weight.copy_(held)
        cimsim.age(cimsim.program(made, chip), DAY_S)
        made.draws = 0  # the same read noise
        return (made(at) * delta).sum()

    at = x.clone().requires_grad_()
    dx, dw = torch.autograd.grad(loss(at, weight), (at, made.weight))
    with torch.no_grad():
        by_weight = loss(x, weight + step * aside) - loss(x, weight - step * aside)
        by_input = loss(x + step * away, weight) - loss(x - step * away, weight)
    along = dw * aside, dx * away
    return Measured(
        (by_weight.item() / (2 * step), by_input.item() / (2 * step)),
        (along[0].sum().item(), along[1].sum().item()),
        (along[0].norm().item(), along[1].norm().item()),
    )


@pytest.mark.parametrize("case", SMOOTH)
def test_it_is_the_slope_of_the_output(case: Case) -> None:
    x = inputs(case).double()
    with kernels.use("numbers"):
        made = layer(case.profile(FINE), x)
        chips = [measure(made, x, chip) for chip in range(CHIPS if made.profile.has_noise else 1)]
    neglected = max((share for name, share in NEGLECTED.items() if name in case.name), default=0.0)
    for which, allowed in ((0, 0.0), (1, neglected)):
        apart = torch.tensor([c.differences[which] - c.by_rule[which] for c in chips])
        size = sum(c.size[which] for c in chips) / len(chips)
        error = apart.std().item() / math.sqrt(len(chips)) if len(chips) > 1 else 0.0
        assert abs(apart.mean().item()) < (0.03 + allowed) * size + 8 * error


def bends_before_the_products(profile: Profile) -> bool:
    circuit = Array(profile, LinearTiling(12, 12))
    return circuit.bends and circuit.sums_products


CASES_OF_DRIFT = [case for case in CASES if case.name.startswith("cell.drift.power-law")]
SMALL_TILES = {**BASE, "array": {**BASE.get("array", {}), "rows": 40}}
BENT = {**SMALL_TILES, "cell": {**SMALL_TILES["cell"], "iv": {**SINH, "source": SOURCE}}}
BENT_FROM_ZERO = {**BENT, "cell": {**BENT["cell"], "g_min_uS": 0.0}}
LAWS = {"alone": SMALL_TILES, "with sinh": BENT, "with sinh from zero": BENT_FROM_ZERO}


def bending_profiles() -> Iterator[Any]:
    """Every setting that bends before the products, alone and with cells that bend alike."""
    for law, base in LAWS.items():
        for case in CASES:
            if "cell.iv" in case.name and base is not SMALL_TILES:
                continue
            try:
                profile = case.profile(base)
            except ValidationError:  # the settings exclude each other
                continue
            fits = profile.array.rows >= 9  # a kernel
            if fits and bends_before_the_products(profile):
                yield pytest.param(profile, id=f"{case.name}, {law}")


@pytest.mark.parametrize("which", ["fused", "numbers"])
@pytest.mark.parametrize("profile", list(bending_profiles()))
def test_products_alone_give_the_derivative_of_the_output(
    profile: Profile, which: kernels.Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Convolutions, too, with several tiles, in float32."""
    digital = nn.Conv2d(8, 6, 3, groups=2)
    x = torch.randn(2, 8, 6, 6, generator=torch.Generator().manual_seed(0)).requires_grad_()

    def gradients() -> tuple[Tensor, ...]:
        made = cimsim.calibrate(cimsim.convert(digital, profile), [x.detach()])
        cimsim.age(cimsim.program(made.eval(), 3), DAY_S)
        with kernels.use(which):
            return torch.autograd.grad(made(x).square().sum(), (x, made.weight))

    by_products = gradients()
    monkeypatch.setattr(Circuit, "one_product", False)
    monkeypatch.setattr(Circuit, "sums_products", False)
    for one, other in zip(by_products, gradients(), strict=True):
        assert (one - other).abs().max() < 1e-3 * other.abs().max()


@pytest.mark.parametrize("per", ["layer", "tile", "column"])
@pytest.mark.parametrize("base", LAWS.values(), ids=LAWS)
def test_a_column_of_zeros_has_a_finite_gradient(per: str, base: Raw) -> None:
    """Drift compensation scales it to 0."""
    array = {**base["array"], "weight_scale": per, "drift_compensation": "per-column"}
    profile = CASES_OF_DRIFT[0].profile({**base, "array": array})
    layer = nn.Linear(12, 8)
    with torch.no_grad():
        layer.weight[3] = 0.0
    x = torch.randn(5, 12, generator=torch.Generator().manual_seed(0))
    made = cimsim.calibrate(cimsim.convert(layer, profile), [x]).eval()
    cimsim.age(cimsim.program(made, 1), DAY_S)
    made(x).square().sum().backward()
    assert made.weight.grad is not None
    assert made.weight.grad.isfinite().all()


READOUT_ERRORS = [
    # A spread is new at every read, and no part of the mean.
    {**error, "spread_strength": 0.0} if error["kind"] == "measured" else error
    for error in ADC_ERRORS
    if error["kind"] not in ("sar", "ramp", "pipeline")
]


@pytest.mark.parametrize("error", READOUT_ERRORS, ids=lambda error: error["kind"])
def test_a_learned_range_has_the_slope_of_the_output(error: dict[str, Any]) -> None:
    """Also behind an error of the readout, which acts in steps of the range."""
    x = inputs(CASES[0]).double()
    adc: dict[str, Any] = {"bits": 16, "source": SOURCE, "errors": [{"source": SOURCE, **error}]}
    adc["range"] = {"kind": "learned", "source": SOURCE}
    profile = Profile.model_validate({**CASES[0].profile(FINE, False).model_dump(), "adc": adc})
    made = layer(profile, x)
    delta = torch.randn(len(x), 8, generator=torch.Generator().manual_seed(5), dtype=x.dtype)
    cimsim.program(made, 3)

    def loss() -> Tensor:
        return (made(x) * delta).sum()

    with kernels.use("numbers"):
        (slope,) = torch.autograd.grad(loss(), made.adc_range)
        full_scale = made.adc_range.detach().clone()
        sides = []
        for factor in (1.01, 0.99):
            made.adc_range.data.copy_(factor * full_scale)
            sides.append(loss().item())
    difference = (sides[0] - sides[1]) / 0.02
    assert (slope * full_scale).sum().item() == pytest.approx(difference, rel=0.04, abs=0.05)
