"""Several pairs of cells that hold one weight."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

import cimsim
from cimsim import kernels
from cimsim.nn.layer import AnalogLayer
from cimsim.profile import ProfileError, load_profile

N = 20_000
SIGMA = 0.03  # of g_max
NOISE = {"kind": "gaussian", "sigma_of_g_max": SIGMA, "source": "a test"}


def held(r: float, significance: list[float], writing: str, **keys: Any) -> torch.Tensor:
    """What ``N`` cells with the relative weight ``r`` hold on one chip."""
    pairs = {"significance": significance, "writing": writing, "source": "a test"}
    return on_chip(r, {"array.pairs": pairs, "cell.programming_noise": [NOISE], **keys})


def on_chip(r: float, keys: dict[str, Any]) -> torch.Tensor:
    linear = nn.Linear(2, N, bias=False, dtype=torch.float64)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([1.0, r]).double().expand(N, 2))
    base = {"cell.g_min_uS": 10.0, "cell.g_max_uS": 25.0, "dac.bits": None, "adc.bits": None}
    made = cimsim.convert(linear, load_profile("ideal", {**base, **keys}))
    assert isinstance(made, AnalogLayer)
    return cimsim.program(made, 1).programmed_weight()[:, 1]


def moments(values: torch.Tensor, mean: float, std: float) -> None:
    assert values.mean().item() == pytest.approx(mean, abs=4 * std / math.sqrt(N) + 1e-9)
    assert values.std().item() == pytest.approx(std, rel=4 / math.sqrt(2 * N))


@pytest.mark.parametrize("significance", [[1.0], [1.0, 1.0], [4.0, 1.0], [3.0, 2.0, 1.0]])
def test_shared_pairs_average_their_errors(significance: list[float]) -> None:
    one = math.sqrt(2) * SIGMA * 25 / 15
    size = math.sqrt(sum(f * f for f in significance)) / sum(significance)
    moments(held(0.4, significance, "shared"), 0.4, one * size)


@pytest.mark.parametrize("significance", [[4.0, 1.0], [8.0, 2.0], [9.0, 3.0, 1.0]])
def test_a_pair_that_corrects_leaves_its_own_error_only(significance: list[float]) -> None:
    """As long as its range reaches, which is here 5 or more spreads of the pair before it."""
    one = math.sqrt(2) * SIGMA * 25 / 15
    assert significance[-1] / significance[-2] > 3 * one
    moments(held(0.4, significance, "corrected"), 0.4, one * significance[-1] / significance[0])


def test_a_correction_reaches_as_far_as_its_pair() -> None:
    """Against the same in numbers: N(0, one) less what is at most 1/20 of the weight's range."""
    one = math.sqrt(2) * SIGMA * 25 / 15
    draws = torch.Generator().manual_seed(0)
    error = one * torch.randn(200_000, generator=draws).double()
    fine = one / 20 * torch.randn(200_000, generator=draws).double()
    left = (error - error.clamp(-0.05, 0.05) + fine).std().item()
    found = held(0.4, [20.0, 1.0], "corrected")
    assert found.std().item() == pytest.approx(left, rel=0.03)
    assert left > 0.2 * one


def test_drift_and_read_noise_act_on_every_cell() -> None:
    """Spread of a read: each cell's noise times what it counts for."""
    read = {"kind": "gaussian", "sigma_of_g_max": SIGMA, "source": "a test"}
    pairs = {"significance": [4, 1], "source": "a test"}
    keys = {"array.pairs": pairs, "cell.read_noise": [read], "adc.bits": None, "dac.bits": None}
    made = cimsim.convert(nn.Linear(1, 1, bias=False), load_profile("ideal", keys)).eval()
    with torch.no_grad():
        y = made(torch.ones(N, 1)) / made.weight.abs()
    span = made.profile.cell.g_max_uS - made.profile.cell.g_min_uS
    one = math.sqrt(2) * SIGMA * made.profile.cell.g_max_uS / span
    assert y.std().item() == pytest.approx(one * math.sqrt(17) / 5, rel=4 / math.sqrt(2 * N))


TABLE = {
    "r": [-1.0, -0.5, 0.0, 0.5, 1.0],
    "g_uS": [
        [10.0, 10.0, 12.0, 16.0, 22.0],
        [22.0, 16.0, 12.0, 10.0, 10.0],
        [10.0, 11.0, 11.0, 14.0, 14.0],
        [14.0, 14.0, 11.0, 11.0, 10.0],
    ],
    "source": "a test",
}


@pytest.mark.parametrize(
    ("r", "cells"), [(0.5, (16, 10, 14, 11)), (-0.75, (10, 19, 10.5, 14)), (1.0, (22, 10, 14, 10))]
)
def test_a_table_says_what_every_cell_holds(r: float, cells: tuple[float, ...]) -> None:
    pairs = {"significance": [3, 1], "table": TABLE, "source": "a test"}
    found = on_chip(r, {"array.pairs": pairs})
    plus, minus, small_plus, small_minus = cells
    unit = 3 * (22 - 10) + (14 - 10)
    expected = (3 * (plus - minus) + (small_plus - small_minus)) / unit
    assert found[0].item() == pytest.approx(expected, rel=1e-12)
    assert (found == found[0]).all()


BENT = {**TABLE, "g_uS": [[10.0, 10.0, 12.0, 20.0, 22.0], *TABLE["g_uS"][1:]]}


@pytest.mark.parametrize("which", ["fused", "numbers", "torch"])
@pytest.mark.parametrize("rule", ["A", "F"])
@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize("table", [TABLE, BENT], ids=["symmetric", "bent at zero"])
def test_a_weight_at_a_point_of_the_table_has_the_mean_of_both_slopes(
    table: dict[str, Any], noisy: bool, rule: str, which: kernels.Use
) -> None:
    """At 0, where many weights of a pruned layer are, and at another point."""
    pairs = {"significance": [3, 1], "table": table, "source": "a test"}
    exact = {"adc.bits": None, "dac.bits": None, "cell.read_noise": [], "adc.noise_of_range": 0.0}
    keys = {"array.pairs": pairs, "array.drift_compensation": "none", "cell.g_min_uS": 5.0, **exact}
    if not noisy:
        keys |= {"cell.programming_noise": [], "cell.drift": []}
    torch.manual_seed(0)
    digital, x = nn.Linear(12, 6, bias=False), torch.rand(16, 12)
    points = [(output, row) for output in range(6) for row in (0, 5, 9)]
    with torch.no_grad():
        digital.weight[:, 11] = 1.0  # the scale
        digital.weight[:, 0], digital.weight[:, 5], digital.weight[:, 9] = 0.0, -0.0, 0.5
    with kernels.use(which):
        chip = cimsim.convert(digital, load_profile("pcm-ibm-2020", keys), rule=rule).eval()
        cimsim.age(cimsim.program(chip, 3), 3600.0)
        y = chip(x)
        y.sum().backward()
        size = 1e-3

        def slope(at: tuple[int, int], by: float) -> float:
            with torch.no_grad():
                before = chip.weight[at].item()
                chip.weight[at] = before + by
                changed = (chip(x).double() - y.double()).sum().item()
                chip.weight[at] = before
            return changed / by

        sides = [(slope(at, size), slope(at, -size)) for at in points]
    assert chip.weight.grad is not None
    found = torch.stack([chip.weight.grad[at] for at in points])
    expected = torch.tensor([(right + left) / 2 for right, left in sides])
    assert any(abs(right - left) > 0.1 * abs(right) for right, left in sides)
    assert torch.allclose(found, expected, rtol=0.01, atol=0.01 * expected.abs().max().item())


@pytest.mark.parametrize("writing", ["shared", "corrected"])
def test_it_trains(writing: str) -> None:
    torch.manual_seed(0)
    pairs = {"significance": [4, 1], "writing": writing, "source": "a test"}
    model = cimsim.convert(nn.Linear(8, 4), load_profile("pcm-ibm-2020", {"array.pairs": pairs}))
    x, target = torch.randn(64, 8), torch.randn(64, 4)
    cimsim.calibrate(model, [x])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    losses = []
    for _ in range(30):
        loss = (model(x) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"array.mapping": "offset-column"}, "requires the mapping 'differential-pair'"),
        ({"array.slices": 2, "cell.levels": 4}, "not both"),
        ({"array.pairs": {"significance": []}}, "significance"),
        ({"array.pairs": {"significance": [4, -1]}}, "significance"),
        ({"array.pairs": {"significance": [1], "table": TABLE}}, "1 pairs have 2 cells"),
        (
            {"array.pairs": {"significance": [3, 1], "writing": "corrected", "table": TABLE}},
            "combined with 'writing: corrected'",
        ),
        (
            {"array.pairs": {"significance": [3, 1], "table": TABLE}, "cell.g_min_uS": 11.0},
            "'pairs.table' must be .* but its range is 10 to 22 µS",
        ),
    ],
)
def test_what_does_not_fit_is_refused(keys: dict[str, Any], words: str) -> None:
    pairs = {"significance": [4, 1], "source": "a test"}
    keys = {"cell.g_min_uS": 10.0, "cell.g_max_uS": 25.0, "array.pairs": pairs, **keys}
    if "source" not in keys["array.pairs"]:
        keys["array.pairs"] = {**keys["array.pairs"], "source": "a test"}
    with pytest.raises(ProfileError, match=words):
        load_profile("ideal", keys)
