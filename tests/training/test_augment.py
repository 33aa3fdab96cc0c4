"""Images mirrored and shifted."""

from __future__ import annotations

import torch

from cimsim.training.augment import augmented


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_about_half_are_mirrored() -> None:
    x = torch.arange(8.0).expand(1000, 1, 4, 8)
    y = augmented(x, ("flip",), draws())
    mirrored = (y == x.flip(3)).all(dim=(1, 2, 3))
    kept = (y == x).all(dim=(1, 2, 3))
    assert (mirrored ^ kept).all()
    assert 430 < mirrored.sum() < 570


def test_shifts_reach_an_eighth_and_repeat_the_border() -> None:
    height, width = 32, 24
    rows = torch.arange(float(height))[:, None].expand(height, width)
    columns = torch.arange(float(width)).expand(height, width)
    x = torch.stack((rows, columns)).expand(2000, 2, height, width)
    y = augmented(x, ("shift",), draws())
    assert y.shape == x.shape
    by = y[:, :, 16, 12] - x[:, :, 16, 12]
    assert set(by.flatten().tolist()) == set(range(-3, 4))
    at = torch.arange(height) + by[:, :1]
    assert torch.equal(y[:, 0, :, 0], at.clamp(0, height - 1))


def test_the_same_draws_are_the_same_images() -> None:
    x = torch.randn(16, 3, 8, 8)
    one, two = (augmented(x, ("flip", "shift"), draws(3)) for _ in range(2))
    assert torch.equal(one, two)
    assert not torch.equal(one, augmented(x, ("flip", "shift"), draws(4)))
