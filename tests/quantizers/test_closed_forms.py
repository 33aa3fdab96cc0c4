"""Each quantizer against its own equations."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from cimsim.errors import CimsimError
from cimsim.quantizers import (
    Denoising,
    LearnedStep,
    StochasticSign,
    Ternary,
    Uniform,
    make_quantizer,
)
from cimsim.quantizers.learned_noise import LearnedNoise
from cimsim.quantizers.mixed import sampled_one_hot
from cimsim.quantizers.quantizer import Groups
from cimsim.quantizers.sparsify import Sparsify
from cimsim.quantizers.sparsity import sparse
from cimsim.quantizers.ternary import pack, unpack, values, words


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gradient(y: Tensor, x: Tensor, weights: Tensor) -> Tensor:
    return torch.autograd.grad((y * weights).sum(), x)[0]


# Uniform.


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_uniform_has_its_levels_and_rounds_to_the_nearest(bits: int) -> None:
    x = torch.randn(4, 500, generator=draws())
    y = Uniform(bits)(x)
    step = x.abs().amax(1, keepdim=True) / (2 ** (bits - 1) - 1)
    assert (y / step - (y / step).round()).abs().max() < 1e-4
    assert ((y - x).abs() <= step / 2 + 1e-6).all()


def test_uniform_clips_in_the_gradient_too() -> None:
    x = torch.tensor([[-2.0, -0.4, 0.4, 2.0]], requires_grad=True)
    y = Uniform(3, range=1.0)(x)
    assert torch.autograd.grad(y.sum(), x)[0].tolist() == [[0.0, 1.0, 1.0, 0.0]]


@pytest.mark.parametrize(
    ("levels", "codes"),
    [("symmetric", [-1, 0, 1]), ("full", [-2, -1, 0, 1]), ("unsigned", [0, 1, 2, 3])],
)
@pytest.mark.parametrize("scale", ["absmax", "absmean"])
def test_two_bits_have_the_levels_of_their_name(levels: str, codes: list[int], scale: str) -> None:
    x = torch.randn(4, 500, generator=draws())
    quantizer = Uniform(2, levels=levels, scale=scale)  # type: ignore[arg-type]
    size = (x if levels == "unsigned" else x.abs()).amax(1, keepdim=True)
    step = size / {"symmetric": 1, "full": 1.5, "unsigned": 3}[levels]
    if scale == "absmean":
        step = x.abs().mean(1, keepdim=True)
    nearest = (x / step).round().clamp(codes[0], codes[-1])
    torch.testing.assert_close(quantizer(x), nearest * step)
    assert torch.equal(quantizer.codes(x), nearest)
    assert nearest.unique().tolist() == codes
    assert quantizer.step_size(x) == pytest.approx(float(step.mean()))
    inside = (x / step >= codes[0]) & (x / step <= codes[-1])
    if scale == "absmax":  # no value is clipped by more than half a step
        inside = x > (0 if levels == "unsigned" else -torch.inf)
    x.requires_grad_()
    passed = torch.autograd.grad(quantizer(x).sum(), x)[0]
    assert torch.equal(passed, inside.float())


def test_a_fixed_range_is_the_largest_magnitude() -> None:
    x = torch.tensor([[-9.0, -0.6, 0.1, 9.0]])
    assert Uniform(2, levels="full", range=1.0)(x).tolist() == [[-1.0, -0.5, 0.0, 0.5]]
    found = Uniform(2, levels="unsigned", range=3.0)(x)
    assert found.tolist() == [[0.0, 0.0, 0.0, 3.0]]


def test_older_names_of_levels_have_their_meaning() -> None:
    x = torch.randn(4, 50, generator=draws())
    old, new = make_quantizer("uniform:bits=3,levels=bits"), make_quantizer("uniform:bits=3")
    assert torch.equal(old(x), new(x))
    for name in ("lsq:bits=2", "uniform:bits=2,group=tensor"):
        assert make_quantizer(name)(x).unique().numel() == 3


@pytest.mark.parametrize("name", ["lsq", "uniform"])
def test_one_bit_has_no_full_levels(name: str) -> None:
    with pytest.raises(CimsimError, match="full needs two bits or more"):
        make_quantizer(f"{name}:bits=1,levels=full")


# Denoising dequantization.


def reference(x: Tensor, q_const: Tensor, scale: Tensor, ridge: float, affine: bool) -> Tensor:
    """The regression written for autograd: q is x / s plus a constant."""
    q = x / scale + (q_const - x / scale).detach()
    if affine:
        dq, dx = q - q.mean(1, keepdim=True), x - x.mean(1, keepdim=True)
        slope = (dq * dx).mean(1, keepdim=True) / (dq.square().mean(1, keepdim=True) + ridge)
        return slope * dq + x.mean(1, keepdim=True)
    return (q * x).mean(1, keepdim=True) / (q.square().mean(1, keepdim=True) + ridge) * q


@pytest.mark.parametrize("form", ["affine", "linear"])
@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("ridge", [0.0, 0.01, 1.0])
def test_the_closed_form_is_that_of_autograd(form: str, bits: int, ridge: float) -> None:
    x = torch.randn(5, 33, dtype=torch.float64, generator=draws(), requires_grad=True)
    weights = torch.randn(5, 33, dtype=torch.float64, generator=draws(1))
    quantizer = Denoising(bits, form=form, ridge=ridge)  # type: ignore[arg-type]
    scale, q = quantizer._codes(Groups(x.detach(), "row"))
    expected = reference(x, q, scale, ridge, form == "affine")
    found = quantizer(x)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-13)
    torch.testing.assert_close(
        gradient(found, x, weights), gradient(expected, x, weights), rtol=0, atol=1e-12
    )


def test_blocks_with_a_short_last_one_are_blocks_of_their_own() -> None:
    x = torch.randn(3, 10, dtype=torch.float64, generator=draws(), requires_grad=True)
    weights = torch.randn(3, 10, dtype=torch.float64, generator=draws(1))
    whole = Denoising(2, group=4)(x)
    parts = torch.cat([Denoising(2)(x[:, i : i + 4]) for i in (0, 4, 8)], dim=1)
    torch.testing.assert_close(whole, parts)
    torch.testing.assert_close(gradient(whole, x, weights), gradient(parts, x, weights))


def test_one_bit_without_ridge_are_the_conditional_means() -> None:
    x = torch.randn(2, 1000, dtype=torch.float64, generator=draws())
    y = Denoising(1, ridge=0.0)(x)
    for row, held in zip(x, y, strict=True):
        up = row >= row.mean()
        assert held[up].sub(row[up].mean()).abs().max() < 1e-12
        assert held[~up].sub(row[~up].mean()).abs().max() < 1e-12


def test_much_ridge_leaves_the_mean_alone() -> None:
    x = torch.randn(2, 50, dtype=torch.float64, generator=draws())
    affine = Denoising(4, ridge=1e12)(x)
    torch.testing.assert_close(affine, x.mean(1, keepdim=True).expand_as(x), atol=1e-6, rtol=0)
    assert Denoising(4, form="linear", ridge=1e12)(x).abs().max() < 1e-6


def test_the_product_of_codes_wants_two_rank_one_corrections_only() -> None:
    """Y~ = (s_X s_W^T) (Q_X Q_W - n qbar_X qbar_W^T) + n xbar wbar^T, one integer product."""
    n = 64
    x = torch.randn(7, n, dtype=torch.float64, generator=draws())
    w = torch.randn(5, n, dtype=torch.float64, generator=draws(1))
    quantizer = Denoising(2)
    parts = []
    for t in (x, w):
        _, q = quantizer._codes(Groups(t, "row"))
        mean, q_mean = t.mean(1, keepdim=True), q.mean(1, keepdim=True)
        slope = ((q - q_mean) * (t - mean)).mean(1, keepdim=True)
        slope = slope / ((q - q_mean).square().mean(1, keepdim=True) + quantizer.ridge)
        parts.append((q, slope, mean, q_mean))
    (qx, sx, mx, qmx), (qw, sw, mw, qmw) = parts
    integers = qx @ qw.T
    fast = (sx @ sw.T) * (integers - n * qmx @ qmw.T) + n * mx @ mw.T
    torch.testing.assert_close(fast, quantizer(x) @ quantizer(w).T)


def test_gradients_reach_pruned_weights() -> None:
    x = torch.randn(4, 16, generator=draws(), requires_grad=True)
    y = Denoising(4, sparsity="2:4")(x)
    assert ((y != 0).sum(1) == 8).all()
    pruned = y == 0
    assert (gradient(y, x, torch.randn(4, 16))[pruned] != 0).all()


@given(st.integers(1, 6), st.integers(1, 8), st.integers(0, 1000))
def test_of_every_m_the_n_largest_stay(kept: int, of: int, seed: int) -> None:
    kept = min(kept, of)
    x = torch.randn(3, 4 * of, generator=draws(seed))
    y = sparse(x, f"{kept}:{of}").view(3, 4, of)
    assert ((y != 0).sum(2) == kept).all()
    groups = x.view(3, 4, of).abs()
    smallest_kept = torch.where(y != 0, groups, torch.inf).amin(2)
    largest_dropped = torch.where(y == 0, groups, -torch.inf).amax(2)
    assert (smallest_kept >= largest_dropped).all()


# Learned steps.


@pytest.mark.parametrize(
    ("levels", "low", "high"), [("symmetric", -3, 3), ("full", -4, 3), ("unsigned", 0, 7)]
)
def test_the_step_has_the_gradient_of_its_paper(levels: str, low: int, high: int) -> None:
    """dx~/ds is round(x/s) - x/s inside, Q_N or Q_P outside, and is scaled by 1 / sqrt(N Q_P)."""
    x = torch.linspace(-3, 3, 40, dtype=torch.float64)[None]
    quantizer = LearnedStep(bits=3, levels=levels).double()  # type: ignore[arg-type]
    quantizer.setup(x)
    step = float(quantizer.step.detach())
    assert step == pytest.approx(2 * float(x.abs().mean()) / math.sqrt(high))
    quantizer.step.data /= 3  # so that values are clipped on both sides
    step /= 3
    y = quantizer(x)
    torch.testing.assert_close(y, (x / step).round().clamp(low, high) * step)
    (found,) = torch.autograd.grad(y.sum(), quantizer.step)
    ratio = x / step
    inside = (ratio > low) & (ratio < high)
    slopes = torch.where(inside, ratio.round() - ratio, ratio.clamp(low, high))
    assert found.item() == pytest.approx(slopes.sum().item() / math.sqrt(40 * high))


# Ternary.


def test_signed_and_plain_zero_differ_in_the_gradient_alone() -> None:
    x = (0.6 * torch.randn(4, 200, generator=draws())).requires_grad_()
    signed, plain = Ternary("signed")(x), Ternary("plain")(x)
    assert torch.equal(signed, plain)
    zero = signed == 0
    assert 0.25 < zero.float().mean() < 0.37  # erf(0.5 sqrt(2/pi) / sqrt 2) = 0.31 of a Gaussian
    passed = gradient(signed, x, torch.ones_like(x))
    assert torch.equal(passed, (x.abs() <= 1).float())
    assert torch.equal(gradient(plain, x, torch.ones_like(x)), passed * ~zero)


@given(st.lists(st.sampled_from([-2.0, -0.3, 0.0, 0.3, 2.0]), min_size=1, max_size=40))
def test_two_bits_a_weight_and_back_exactly(numbers: list[float]) -> None:
    x = torch.tensor(numbers)
    word = words(x, 0.5)
    packed = pack(word)
    assert packed.numel() == -(-len(numbers) // 4)
    assert packed.dtype == torch.uint8
    back = unpack(packed, tuple(x.shape))
    assert torch.equal(back, word)
    assert torch.equal(values(back).float(), torch.where(x.abs() > 0.5, x.sign(), 0.0))
    assert torch.equal(back >= 2, x >= 0)  # the sign of a zero survives


# A noisy comparator.


@pytest.mark.parametrize("shape", ["logistic", "normal"])
def test_the_surrogate_is_the_slope_of_the_mean(shape: str) -> None:
    """Means over many draws at a - h and a + h against 2 p_Z(a)."""
    quantizer = StochasticSign(noise=0.7, shape=shape, relative=False, sure=False)  # type: ignore[arg-type]
    quantizer.train()
    at, h, n = torch.tensor([-1.0, 0.0, 0.4]), 0.05, 400_000
    means = []
    for side in (-h, h):
        quantizer.draws = 0  # common random numbers
        means.append(quantizer((at + side).expand(n, 3)).mean(0))
    measured = (means[1] - means[0]) / (2 * h)
    x = at[None].clone().requires_grad_()
    slope = torch.autograd.grad(quantizer(x).sum(), x)[0][0]
    assert (measured - slope).abs().max() < 0.03


# Discrete choices.


def test_conditional_draws_agree_with_the_choice_and_have_its_probability() -> None:
    theta = torch.tensor([0.3, -0.5, 1.0, 0.0])
    rng = draws()
    counts = torch.zeros(4)
    for _ in range(4000):
        counts += sampled_one_hot(theta, 0.5, 1, rng)
    expected = torch.softmax(theta, 0) * 4000
    assert ((counts - expected).abs() < 4 * expected.sqrt()).all()


def test_rao_blackwell_keeps_the_mean_and_lowers_the_variance() -> None:
    """Against plain straight-through Gumbel-softmax: the same expectation, less variance."""
    theta = torch.tensor([0.3, -0.5, 1.0, 0.0], dtype=torch.float64, requires_grad=True)
    f = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)

    def estimates(samples: int) -> Tensor:
        rng = draws(samples)
        return torch.stack(
            [
                torch.autograd.grad(sampled_one_hot(theta, 0.3, samples, rng) @ f, theta)[0]
                for _ in range(2000)
            ]
        )

    one, many = estimates(1), estimates(100)
    error = (one.var(0) / 2000 + many.var(0) / 2000).sqrt()
    assert ((one.mean(0) - many.mean(0)).abs() < 4.5 * error).all()
    assert many.var(0).sum() < 0.6 * one.var(0).sum()


# Learned noise and sparsification.


def test_noise_and_rounding_of_learned_size_have_the_same_error() -> None:
    """Uniform noise of the size of half a step is what rounding adds on average."""
    x = torch.randn(64, 512, generator=draws(), dtype=torch.float64)
    quantizer = LearnedNoise(bits=5).double()
    quantizer.setup(x)
    noise, rounding = ((quantizer.train(mode)(x) - x).square().mean() for mode in (True, False))
    assert rounding.item() == pytest.approx(noise.item(), rel=0.05)
    assert quantizer.weight_bits().mean().item() == pytest.approx(5.0, rel=1e-4)
    assert quantizer.penalty().item() == pytest.approx(4 * x.numel(), rel=1e-4)


def test_gates_harden_to_a_mask() -> None:
    x = torch.randn(4, 50, generator=draws())
    quantizer = Sparsify()
    quantizer.setup(x)
    with torch.no_grad():
        quantizer.gate.copy_(torch.randn(4, 50, generator=draws(1)))
    quantizer.advance(1.0)
    soft = quantizer.train()(x)
    hard = quantizer.eval()(x)
    assert torch.equal(hard == 0, quantizer.gate <= 0)
    close = (quantizer.gate.abs() > 0.05).detach()
    torch.testing.assert_close(soft[close], hard[close], rtol=1e-3, atol=1e-3)


def test_randomized_rounding_has_the_variance_that_lotion_counts() -> None:
    """1/2 tr(H Sigma) is exact for a quadratic: all 2^6 roundings enumerated."""
    from cimsim.training.objectives.lotion import rounding_variance

    w = torch.randn(1, 6, dtype=torch.float64, generator=draws(3))
    a = torch.randn(6, 6, dtype=torch.float64, generator=draws(4))
    hessian = a @ a.T
    step = w.abs().max() / 3
    low = (w / step).floor() * step
    up = (w - low) / step
    expected = torch.zeros((), dtype=torch.float64)
    for pattern in itertools.product((0.0, 1.0), repeat=6):
        bit = torch.tensor(pattern, dtype=torch.float64)
        rounded = (low + bit * step)[0]
        chance = torch.where(bit > 0, up[0], 1 - up[0]).prod()
        expected += chance * (rounded @ hessian @ rounded) / 2
    smooth = (w[0] @ hessian @ w[0]) / 2
    smooth += (hessian.diagonal() * rounding_variance(w, 3, "row")[0]).sum() / 2
    assert smooth.item() == pytest.approx(expected.item(), rel=1e-12)
