"""The same chip written again: what belongs to the device stays, the rest is drawn anew."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import Tensor, nn

import cimsim
from cimsim import CimsimError, kernels
from cimsim.profile import Profile, load_profile
from tests.building import ADC_ERRORS, POWER_LAW, device, gaussian

DAY_S = 86400.0
INPUTS, OUTPUTS = 100, 200
CELLS = INPUTS * OUTPUTS
LEEWAY = 4.5 / math.sqrt(CELLS)
LINE = {"kind": "polynomial", "coefficients": [0.4, 0.5]}
NOISES: tuple[dict[str, Any], ...] = (
    gaussian(0.04),
    {"kind": "relative", "sigma_of_g": 0.06},
    {"kind": "state-dependent", "g_ref_uS": 25.0, "sigma_uS": LINE},
)
BACK_ENDS: tuple[kernels.Use, ...] = ("fused", "numbers")


def layer(profile: Profile, seed: int = 0) -> nn.Module:
    """A calibrated linear layer; its inputs are single rows, so that it returns its weights."""
    torch.manual_seed(seed)
    digital = nn.Linear(INPUTS, OUTPUTS, bias=False)
    return cimsim.calibrate(cimsim.convert(digital, profile), [torch.eye(INPUTS)]).eval()


def read(model: nn.Module, chip: int, cycle: int, age_s: float = 0.0) -> Tensor:
    """What every weight comes out as."""
    cimsim.age(cimsim.program(model, chip, cycle), age_s)
    with torch.no_grad():
        return model(torch.eye(INPUTS)).double()


def correlation(one: Tensor, other: Tensor) -> float:
    return torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1].item()


def share(effect: dict[str, Any], of_device: float) -> dict[str, Any]:
    return {**effect, "device_share": of_device}


@pytest.mark.parametrize("which", BACK_ENDS)
@pytest.mark.parametrize("effect", NOISES, ids=lambda e: e["kind"])
@pytest.mark.parametrize("of_device", [0.0, 0.3, 0.8, 1.0])
def test_two_cycles_of_a_chip_correlate_by_the_share_of_the_device(
    effect: dict[str, Any], of_device: float, which: kernels.Use
) -> None:
    model = layer(device(programming=[share(effect, of_device)], g_min_uS=8.0))
    with kernels.use(which):
        digital = read(layer(device(g_min_uS=8.0)), 0, 0)
        errors = [read(model, 3, cycle) - digital for cycle in (0, 1, 2)]
        other = read(model, 4, 1) - digital
    spreads = [error.std().item() for error in errors]
    assert spreads == pytest.approx([spreads[0]] * 3, rel=4 / math.sqrt(2 * CELLS))
    for one, again in ((0, 1), (1, 2), (0, 2)):
        assert correlation(errors[one], errors[again]) == pytest.approx(of_device, abs=LEEWAY)
    assert correlation(errors[1], other) == pytest.approx(0.0, abs=LEEWAY)


@pytest.mark.parametrize("which", BACK_ENDS)
def test_cycle_zero_is_the_chip_that_there_was_before_whatever_the_share(
    which: kernels.Use,
) -> None:
    def of(of_device: float | None) -> Profile:
        drift: dict[str, Any] = dict(POWER_LAW)
        noise: dict[str, Any] = dict(NOISES[0])
        if of_device is not None:
            drift, noise = share(drift, of_device), share(noise, of_device)
        return device(programming=[noise], drift=[drift], dac=8, adc=8)

    with kernels.use(which):
        plain = read(layer(of(None)), 3, 0, DAY_S)
        for of_device in (0.0, 0.5, 1.0):
            assert torch.equal(read(layer(of(of_device)), 3, 0, DAY_S), plain)
    cimsim.program(model := layer(of(None)), 3)
    cimsim.age(model, DAY_S)
    with kernels.use(which), torch.no_grad():
        assert torch.equal(model(torch.eye(INPUTS)).double(), plain)


@pytest.mark.parametrize("which", BACK_ENDS)
@pytest.mark.parametrize("of_device", [0.0, 0.4, None])
def test_drift_exponents_stay_with_the_cells_unless_a_share_says_otherwise(
    of_device: float | None, which: kernels.Use
) -> None:
    """ln(y(t) / y(0)) = -nu ln((t + t0) / t0) of single cells."""
    drift = {**POWER_LAW, "nu_mean": {"kind": "polynomial", "coefficients": [0.5]}}
    if of_device is not None:
        drift = share(drift, of_device)
    model = layer(device(drift=[drift]))
    with kernels.use(which):
        exponents = [
            -(read(model, 3, cycle, DAY_S) / read(model, 3, cycle)).abs().log()
            / math.log1p(DAY_S / 20.0)
            for cycle in (0, 1, 2)
        ]
    assert exponents[0].mean().item() == pytest.approx(0.5, abs=0.002)
    expected = 1.0 if of_device is None else of_device
    spread = [nu - nu.mean() for nu in exponents]
    assert correlation(spread[0], spread[1]) == pytest.approx(expected, abs=LEEWAY + 1e-3)
    assert correlation(spread[1], spread[2]) == pytest.approx(expected, abs=LEEWAY + 1e-3)


@pytest.mark.parametrize(
    "kept",
    [
        {"faults": [{"kind": "stuck", "at": "random", "rate": 0.2}]},
        {"faults": [{"kind": "dead-lines", "row_rate": 0.1, "column_rate": 0.1}]},
        *(
            {"adc": 6, "dac": 8, "errors": error}
            for error in ADC_ERRORS
            if error["kind"] != "measured"
        ),
    ],
    ids=lambda kept: kept.get("errors", kept.get("faults", [{}])[0] if "faults" in kept else {})[
        "kind"
    ],
)
def test_what_belongs_to_the_device_is_the_same_in_every_cycle(kept: dict[str, Any]) -> None:
    keys = {key: value for key, value in kept.items() if key != "errors"}
    profile = device(**keys)
    if "errors" in kept:
        error = {**kept["errors"], "source": "made up"}
        profile = Profile.model_validate(
            {**profile.model_dump(), "adc": {**profile.adc.model_dump(), "errors": [error]}}
        )
    model = layer(profile)
    for which in BACK_ENDS:
        with kernels.use(which):
            first = read(model, 3, 0)
            assert torch.equal(read(model, 3, 5), first)
            if kept.get("errors", {}).get("kind") not in ("bow", "compression", "temperature"):
                assert not torch.equal(read(model, 4, 0), first)


@pytest.mark.parametrize("which", BACK_ENDS)
@pytest.mark.parametrize(
    ("noise", "expected"),
    [
        ({"kind": "gaussian", "sigma_of_g_max": 0.03}, 0.0),
        (
            {
                "kind": "one-over-f-absolute",
                "t_read_ns": 250.0,
                "g_ref_uS": 25.0,
                "amplitude_uS": {"kind": "polynomial", "coefficients": [0.3]},
            },
            0.0,
        ),
    ],
    ids=["fast", "slow"],
)
def test_reads_and_sessions_of_another_cycle_are_new(
    noise: dict[str, Any], expected: float, which: kernels.Use
) -> None:
    model, digital = layer(device(read=[noise])), read(layer(device()), 0, 0)
    with kernels.use(which):
        one, again, same = (read(model, 3, cycle, DAY_S) - digital for cycle in (1, 2, 1))
    assert torch.equal(one, same)
    assert correlation(one, again) == pytest.approx(expected, abs=LEEWAY)


def test_traps_stay_where_they_are() -> None:
    """Cells without one have no noise, in any cycle; a slow trap has another state in another."""
    trap = {"kind": "telegraph", "share_of_cells": 0.3, "step_of_g": 0.5, "t_switch_s": 1e9}
    model, digital = layer(device(read=[trap])), read(layer(device()), 0, 0)
    found = [(read(model, 3, cycle, DAY_S) - digital).abs() > 1e-6 for cycle in range(8)]
    anywhere = torch.stack(found).any(0)
    # The resting cell of a pair lies at 0 and shows nothing.
    assert anywhere.double().mean().item() == pytest.approx(0.3, abs=4 * math.sqrt(0.21 / CELLS))
    assert torch.equal(found[0], anywhere)
    states = [read(model, 3, cycle, DAY_S) - digital for cycle in (0, 1)]
    low = [(state * digital.sign() < 0)[anywhere] for state in states]
    assert (low[0] == low[1]).double().mean().item() == pytest.approx(0.5, abs=0.03)


def single(**keys: Any) -> Profile:
    """One cell for each weight."""
    data = device(g_min_uS=8.0, **keys).model_dump()
    data["array"]["mapping"] = "single-device"
    return Profile.model_validate(data)


@pytest.mark.parametrize("of_device", [0.0, 0.5, 1.0])
def test_verification_draws_what_differs_from_write_to_write_until_it_fits(
    of_device: float,
) -> None:
    """Moments of ``d + c | |d + c| <= w``, ``d`` of the device and ``c`` of the cycle."""
    sigma, window = 1.0, 0.8  # in uS
    verified = single(programming=[share(gaussian(0.04), of_device)], verify_uS=window)
    model, digital = layer(verified), read(layer(single()), 0, 0)
    assert isinstance(model, nn.Linear)
    per_uS = model.weight.detach().double().abs().amax(1) / ((25.0 - 8.0) / 2)
    errors = [(read(model, 3, cycle) - digital) / per_uS for cycle in (1, 2)]
    assert max(error.abs().max().item() for error in errors) <= window * (1 + 1e-3)
    fixed, fresh = sigma * math.sqrt(of_device), sigma * math.sqrt(1 - of_device)

    def mean_at(d: float) -> float:
        if fresh == 0:
            return max(-window, min(window, d))
        low, high = (-window - d) / fresh, (window - d) / fresh
        return float(stats.truncnorm.mean(low, high, d, fresh))

    def square_at(d: float) -> float:
        if fresh == 0:
            return mean_at(d) ** 2
        low, high = (-window - d) / fresh, (window - d) / fresh
        return float(stats.truncnorm.var(low, high, d, fresh) + mean_at(d) ** 2)

    def over_devices(function: Any) -> float:
        if fixed == 0:
            return float(function(0.0))
        grid = np.linspace(-6 * fixed, 6 * fixed, 1201)
        values = [function(d) * stats.norm.pdf(d, 0, fixed) for d in grid]
        return float(integrate.trapezoid(values, grid))

    variance = over_devices(square_at)
    covariance = over_devices(lambda d: mean_at(d) ** 2)
    for error in errors:
        assert error.var().item() == pytest.approx(variance, rel=0.04)
    found = (errors[0] * errors[1]).mean().item()
    assert found == pytest.approx(covariance, abs=4.5 * variance / math.sqrt(CELLS))


@pytest.mark.parametrize("which", BACK_ENDS)
@pytest.mark.parametrize("compiled", [False, True])
def test_gradients_are_those_of_the_cycle(which: kernels.Use, compiled: bool) -> None:
    """By rule F, ``dL/dx = dL/dy W_prog``."""
    model = layer(device(programming=[share(NOISES[0], 0.5)], g_min_uS=8.0))
    run = torch.compile(model, backend="aot_eager", fullgraph=True) if compiled else model
    x = torch.randn(7, INPUTS)
    delta = torch.randn(7, OUTPUTS)
    found = []
    with kernels.use(which):
        for cycle in (0, 4):
            cimsim.program(model, 3, cycle)
            asked = x.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(run(asked), asked, delta)
            held = model.programmed_weight()
            assert torch.allclose(gradient, delta @ held, rtol=1e-3, atol=1e-4)
            found.append(gradient)
    assert not torch.allclose(*found, rtol=1e-3)


def test_training_meets_the_chips_that_it_met_before() -> None:
    model = layer(device(programming=[NOISES[0]]))
    seen = []
    for cycle in (0, 3):
        cimsim.program(model, 3, cycle)
        model.draws = 0
        seen.append(model.train()(torch.eye(INPUTS)))
        model.eval()
    assert torch.equal(*seen)


def test_a_fresh_program_is_cycle_zero() -> None:
    model = layer(device(programming=[NOISES[0]]))
    first = read(model, 3, 0)
    again = read(model, 3, 1)
    assert not torch.equal(first, again)
    cimsim.program(model, 3)
    with torch.no_grad():
        assert torch.equal(model(torch.eye(INPUTS)).double(), first)


@pytest.mark.parametrize("cycle", [-1, 1.0, "1", None])
def test_a_cycle_is_a_count(cycle: Any) -> None:
    model = layer(device())
    with pytest.raises(CimsimError, match="a write cycle must be an integer of 0 or more"):
        cimsim.program(model, 0, cycle)


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("sram-charge-jia-2020", 1.0),  # mismatch of capacitors
        ("mismatch", 1.0),  # of circuits
        ("mram-jung-2022", 1.0),  # resistances of junctions
        ("ecram-tang-2018-open-loop", 0.97),  # steps of cells, beside noise of pulses
        ("fefet-jerry-2017", 0.0),  # variation from write to write
        ("nor-flash-guo-2017", 0.0),  # errors of tuning
    ],
)
def test_what_no_write_changes_in_a_shipped_device_stays(name: str, kept: float) -> None:
    torch.manual_seed(0)
    model = cimsim.convert(nn.Linear(INPUTS, OUTPUTS, bias=False), name)
    weights = [cimsim.program(model, 1, cycle).programmed_weight() for cycle in (0, 1)]
    model.profile = load_profile(name).scale_noise(0.0)
    errors = [held - model.programmed_weight() for held in weights]
    assert correlation(*errors) == pytest.approx(kept, abs=max(LEEWAY, 0.02))
