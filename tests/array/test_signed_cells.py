"""The textbook's cell of either sign: its errors have no floor, and may be relative."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cimsim import kernels
from cimsim.array import Array, LinearTiling
from cimsim.profile import load_profile


def held(name: str, weight: Tensor, which: kernels.Use) -> Tensor:
    array = Array(load_profile(name), LinearTiling(weight.shape[1], 512))
    with kernels.use(which):
        return array.programmed_weight(array.chip(weight, 3, 0.0))


@pytest.mark.parametrize("which", ["fused", "numbers", "torch"])
@pytest.mark.parametrize(("name", "sigma"), [("generic-gaussian", 0.03), ("mismatch", 0.3)])
def test_the_largest_weights_of_either_sign_are_as_noisy_as_all(
    name: str, sigma: float, which: kernels.Use
) -> None:
    weight = torch.ones(400, 400)
    weight[:, ::2] = -1.0
    error = held(name, weight, which) - weight
    for some in (error[:, ::2], error[:, 1::2]):
        assert some.mean().item() == pytest.approx(0.0, abs=4 * sigma / 80_000**0.5)
        assert some.std().item() == pytest.approx(sigma, rel=4 / 400)


@pytest.mark.parametrize("which", ["fused", "torch"])
def test_mismatch_is_a_fraction_of_each_weight(which: kernels.Use) -> None:
    weight = torch.linspace(-1, 1, 101).expand(20_000, 101).contiguous()
    ratio = held("mismatch", weight, which) / weight
    sure = weight[0].abs() > 1e-3
    assert ratio[:, sure].std(dim=0).sub(0.3).abs().max().item() < 5 * 0.3 / 200
    assert held("mismatch", weight, which)[:, 50].abs().max().item() == 0.0
