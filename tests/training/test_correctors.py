"""Zeroth-order gradients: what they are on average, and that the weights come back."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from cimsim.errors import CimsimError
from cimsim.training.correctors import (
    SMOOTHING,
    Fogzo,
    SharpnessAware,
    Spsa,
    gradient_truth,
    make_corrector,
)


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("surrogate", SMOOTHING)
def test_perturbations_have_unit_variance_and_their_distribution(surrogate: str) -> None:
    """eps_bar u is uniform on ±1/2, uniform on ±1, logistic with slope 2, triangular on ±1."""
    spread, distribution = SMOOTHING[surrogate]
    u = distribution(torch.rand(1_000_000, generator=draws(), dtype=torch.float64))
    assert u.mean().item() == pytest.approx(0, abs=0.005)
    assert u.var().item() == pytest.approx(1, rel=0.01)
    scaled = spread * u
    at = torch.tensor([-0.3, 0.0, 0.2], dtype=torch.float64)
    below = (scaled[:, None] < at).double().mean(0)
    expected = {
        "identity": at + 0.5,
        "hardtanh": (at + 1) / 2,
        "tanh": torch.sigmoid(2 * at),
        "approxsign": torch.where(at < 0, (1 + at) ** 2 / 2, 1 - (1 - at) ** 2 / 2),
    }[surrogate]
    torch.testing.assert_close(below, expected, atol=0.003, rtol=0)


def test_fogzo_on_a_linear_loss() -> None:
    """E[G] = beta g g^T grad / |g|^2 + (1 - beta) grad, here with grad known and g another."""
    d, beta = 6, 0.6
    w = torch.zeros(d, dtype=torch.float64)
    gradient = torch.randn(d, generator=draws(1), dtype=torch.float64)
    guide = torch.randn(d, generator=draws(2), dtype=torch.float64)
    rng = draws(3)
    sums = torch.zeros_like(w)
    squares, count = torch.zeros_like(w), 4_000
    for _ in range(count):
        w.grad = guide.clone()
        Fogzo(beta=beta).correct([w], lambda: w @ gradient, [0.1], rng)
        sums += w.grad
        squares += w.grad.square()
    unit = guide / guide.norm()
    expected = beta * unit * (unit @ gradient) + (1 - beta) * gradient
    mean = sums / count
    error = ((squares / count - mean.square()) / count).sqrt()
    assert ((mean - expected).abs() < 4 * error).all()
    assert error.norm() < 0.05 * gradient.norm()


@pytest.mark.parametrize("weights", [64, 4096])
def test_the_default_of_fogzo_adds_as_much_of_noise_as_of_the_guide(weights: int) -> None:
    """At the end of training, for any number of weights."""
    w = torch.zeros(weights, dtype=torch.float64)
    guide = torch.randn(weights, generator=draws(1), dtype=torch.float64)
    unit, along, aside = guide / guide.norm(), 0.0, 0.0
    for seed in range(50):
        w.grad = guide.clone()
        points: list[Tensor] = []

        def loss(points: list[Tensor] = points) -> float:
            points.append(w.clone())
            return float(w.sum())

        Fogzo().correct([w], loss, [1.0], draws(seed))
        direction = points[0] - points[1]
        part = direction @ unit
        along, aside = along + part.square(), aside + (direction - part * unit).square().sum()
    assert 0.8 < along / aside < 1.25


def test_spsa_needs_no_gradient_and_no_torch() -> None:
    """A loss of plain Python floats, as hardware in the loop gives one."""
    w = torch.tensor([1.0, -2.0], dtype=torch.float64)

    def loss() -> float:
        a, b = w.tolist()
        return float(math.floor(4 * a) ** 2 + b**2)

    Spsa(n=20_000, surrogate="hardtanh").correct([w], loss, [0.5], draws())
    assert w.grad is not None
    assert w.grad[1].item() == pytest.approx(-4.0, rel=0.05)
    assert w.grad[0].item() > 10  # the staircase 16 a^2, smoothed


@pytest.mark.parametrize("spec", ["fogzo:n=3", "spsa:n=3", "fogzo:beta=1", "fogzo:beta=0"])
def test_the_weights_come_back_bit_for_bit(spec: str) -> None:
    ones = [torch.randn(5, 3, generator=draws()), torch.randn(4, generator=draws(1))]
    before = [one.clone() for one in ones]
    for one in ones:
        one.grad = torch.randn(one.shape, generator=draws(2))
    seen: list[Tensor] = []

    def loss() -> Tensor:
        seen.append(ones[0].clone())
        return torch.stack([one.square().sum() for one in ones]).sum()

    make_corrector(spec).correct(ones, loss, [0.1, 0.3], draws())
    assert all(torch.equal(a, b) for a, b in zip(ones, before, strict=True))
    assert all(not torch.equal(one, before[0]) for one in seen)
    again = [one.grad.clone() for one in ones if one.grad is not None]
    for one in ones:
        one.grad = torch.randn(one.shape, generator=draws(2))
    make_corrector(spec).correct(ones, loss, [0.1, 0.3], draws())
    assert all(
        torch.equal(a, b.grad) for a, b in zip(again, ones, strict=True) if b.grad is not None
    )


def test_sam_is_the_gradient_at_the_worst_point_nearby() -> None:
    """Of ``w^T H w / 2`` over two parameters: ``G = H (w + rho H w / |H w|)``."""
    half = torch.randn(5, 5, generator=draws(), dtype=torch.float64)
    hessian = half @ half.T
    ones = [
        torch.randn(n, generator=draws(n), dtype=torch.float64).requires_grad_() for n in (2, 3)
    ]
    before = [one.detach().clone() for one in ones]

    def loss() -> Tensor:
        w = torch.cat(ones)
        return w @ hessian @ w / 2

    loss().backward()
    SharpnessAware(rho=0.3).correct(ones, loss, (), draws())
    w = torch.cat(before)
    guide = hessian @ w
    expected = hessian @ (w + 0.3 * guide / guide.norm())
    found = torch.cat([one.grad for one in ones if one.grad is not None])
    torch.testing.assert_close(found, expected)
    assert all(torch.equal(a, b) for a, b in zip(ones, before, strict=True))


def test_sam_needs_a_loss_with_a_gradient() -> None:
    w = torch.ones(3)
    w.grad = torch.ones(3)
    for value in (0.5, torch.tensor(0.5)):
        with pytest.raises(CimsimError, match="sam needs a loss that is a tensor with a gradient"):
            SharpnessAware().correct([w], lambda value=value: value, (), draws())  # type: ignore[misc]
    assert torch.equal(w, torch.ones(3))


def test_an_error_in_the_loss_leaves_the_weights() -> None:
    w = torch.ones(3)

    def fail() -> float:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Spsa().correct([w], fail, [0.1], draws())
    assert torch.equal(w, torch.ones(3))


def test_beta_falls_from_one_to_its_value() -> None:
    w = torch.ones(200, dtype=torch.float64)
    gradient = torch.ones(200, dtype=torch.float64)
    angles = []
    for progress in (0.5, 0.75, 1.0):
        w.grad = gradient.clone()
        corrector = Fogzo(beta=0.9, start=0.5)
        corrector.correct([w], lambda: w.sum(), [0.1], draws(), progress)
        angles.append(torch.nn.functional.cosine_similarity(w.grad, gradient, dim=0).abs().item())
    assert angles[0] == pytest.approx(1.0)
    assert angles[0] > angles[1] > angles[2]


def test_truth_of_a_gradient() -> None:
    w = torch.randn(50, generator=draws(), dtype=torch.float64)
    true = 2 * w
    for found, rho in ((true, 1.0), (-3 * true, -1 / 3), (0.5 * true, 2.0)):
        w.grad = found
        assert gradient_truth([w], lambda: w.square().sum()) == pytest.approx(rho)
    across = torch.randn(50, generator=draws(1), dtype=torch.float64)
    w.grad = across - (across @ w) / (w @ w) * w
    assert gradient_truth([w], lambda: w.square().sum()) == pytest.approx(0.0, abs=1e-9)
    w.grad = None
    assert gradient_truth([w], lambda: w.square().sum()) == 0.0


def test_what_is_wrong_is_told() -> None:
    with pytest.raises(CimsimError, match="unknown corrector 'fogo'; did you mean 'fogzo'"):
        make_corrector("fogo")
    with pytest.raises(CimsimError, match="beta: Input should be less than or equal to 1"):
        make_corrector("fogzo:beta=2")
