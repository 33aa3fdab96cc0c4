"""What the kernels compute, and doing without them."""

import pytest
import torch
from scipy import stats
from torch import nn

import cimsim
from cimsim import kernels
from cimsim.array import Array, LinearTiling
from cimsim.kernels import cpu
from tests.building import device, gaussian

needs_kernels = pytest.mark.skipif(cpu.build().library is None, reason=cpu.build().note)


def test_other_tensors_are_left_to_torch() -> None:
    assert not kernels.active(torch.empty(2, dtype=torch.float64))
    assert not kernels.active(torch.empty(2, device="meta"))
    with kernels.use("torch"):
        assert not kernels.active(torch.empty(2))
        assert not kernels.draw(torch.empty(2))
    with kernels.use("numbers"):
        assert not kernels.active(torch.empty(2))


@needs_kernels
@pytest.mark.parametrize("name", ["generic-gaussian", "pcm-ibm-2020"])
def test_chips_are_distributed_as_those_of_plain_torch(name: str) -> None:
    """Means, variances and the whole distribution of cells that all hold the same weight."""
    profile = cimsim.load_profile(name)
    array = Array(profile, LinearTiling(400, 512))
    for weight in (0.0, 0.03, 0.5, 1.0):
        w = torch.full((500, 400), weight)
        w[:, 0] = 1.0  # the scale
        held = []
        for seed, which in enumerate(("fused", "torch")):
            with kernels.use(which):
                held.append(array.chip(w, seed, 3600.0).relative[0, :, 1:].flatten().double())
        fused, plain = held
        count, spread = len(fused), plain.std()
        assert abs(fused.mean() - plain.mean()) < 4 * spread * (2 / count) ** 0.5
        assert abs(fused.std() / spread - 1) < 4 * (2 / count) ** 0.5  # kurtosis of up to 6
        assert stats.ks_2samp(fused.numpy(), plain.numpy()).pvalue > 1e-3


@needs_kernels
def test_reads_are_distributed_as_those_of_plain_torch() -> None:
    profile = device(read=[gaussian(0.02)], dac=8, adc=16)
    layer = cimsim.convert(nn.Linear(64, 64), profile).eval()
    x = torch.randn(1, 64, generator=torch.Generator().manual_seed(0)).repeat(4000, 1)
    cimsim.calibrate(layer, [x])
    layer.adc_range.mul_(3)
    with torch.no_grad():
        outputs = []
        for which in ("fused", "torch"):
            with kernels.use(which):
                outputs.append(layer(x).double())
    fused, plain = outputs
    spread = plain.std(0)
    assert ((fused.mean(0) - plain.mean(0)).abs() < 5 * spread * (2 / 4000) ** 0.5).all()
    # bf16 variances may be off by 0.3 % beyond the statistics
    assert ((fused.std(0) / spread - 1).abs() < 5 * (1 / 4000) ** 0.5 + 3e-3).all()
    residual = ((fused - plain.mean(0)) / spread).flatten()[:50_000]
    assert stats.kstest(residual.numpy(), "norm").pvalue > 1e-4


@needs_kernels
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("count", [*range(70), 4095, 4096, 4097, 50001])
def test_the_relu_of_torch_with_one_bit_of_each_value(count: int, threads: int) -> None:
    x = torch.randn(count + 5, generator=torch.Generator().manual_seed(0))
    special = torch.tensor([0.0, -0.0, torch.nan, torch.inf, -torch.inf, 1e-45, -1e-45])
    x[::3] = special.repeat(count)[: len(x[::3])] if count else 0.0
    x, dy = x[5:], torch.arange(count) - 7.5
    y, dx, before = torch.full_like(x, 8.0), torch.full_like(x, 8.0), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        passes = cpu.rectify(x, y)
        cpu.pass_gradient(dy, passes, dx)
        in_place, gradient = x.clone(), dy.clone()
        assert torch.equal(cpu.rectify(in_place, in_place)[: count // 8], passes[: count // 8])
        cpu.pass_gradient(gradient, passes, gradient)
    finally:
        torch.set_num_threads(before)
    assert len(passes) == (count + 7) // 8
    for values in (y, in_place):
        assert torch.equal(values.view(torch.int32), torch.relu(x).view(torch.int32))
    for values in (dx, gradient):
        assert torch.equal(values, torch.where(x <= 0, 0.0, dy))


@needs_kernels
@pytest.mark.parametrize("columns", [1, 3, 16, 255, 256, 300, 1000])
def test_codes_on_a_grid_give_every_bit_again(columns: int) -> None:
    draws = torch.Generator().manual_seed(0)
    codes = torch.randint(-128, 128, (67, columns), generator=draws)
    scale, bias = torch.rand(columns, generator=draws), torch.randn(columns, generator=draws)
    scale[0] = 0.0
    x = codes * scale + bias
    found = cpu.codes_on_grid(x, scale, bias)
    assert found is not None
    assert torch.equal(found[:, 1:], codes[:, 1:].to(torch.int8))
    assert torch.equal(cpu.values_on_grid(found, scale, bias), x)
    for row, column, value in ((0, 0, 1e3), (66, columns - 1, torch.nan), (5, 0, torch.inf)):
        off = x.clone()
        off[row, column] = value
        assert cpu.codes_on_grid(off, scale, bias) is None
    off = x.clone()
    off.view(torch.int32)[33, columns // 2] ^= 1  # the last bit
    assert cpu.codes_on_grid(off, scale, bias) is None
