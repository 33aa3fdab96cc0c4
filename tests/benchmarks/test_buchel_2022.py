"""Worst chips under mismatch: the expected minimum, and the committed numbers."""

from __future__ import annotations

import itertools

import pytest
import torch

from benchmarks.papers import buchel_2022
from benchmarks.papers.record import RESULTS
from benchmarks.papers.trials import Trials


def test_the_expected_minimum_is_that_of_all_choices() -> None:
    values = [3.0, 1.0, 4.0, 1.5, 9.0]
    for count in range(1, 6):
        minima = [min(choice) for choice in itertools.combinations(values, count)]
        mean = sum(minima) / len(minima)
        spread = (sum((each - mean) ** 2 for each in minima) / len(minima)) ** 0.5
        assert buchel_2022.minimum_of(values, count) == pytest.approx((mean, spread))


def test_the_worst_of_several_trainings() -> None:
    found = buchel_2022.worst([[80.0, 70.0], [90.0, 60.0]])
    assert found.value == 60.0
    assert found.standard_error == pytest.approx(buchel_2022.minimum_of([60, 70, 80, 90], 2)[1])
    assert found.of == "the worst of 4 chips of 2 trainings"


def test_robust_training_has_better_worst_chips_than_published() -> None:
    trials = Trials(RESULTS / f"{buchel_2022.NAME}.csv")
    for name in buchel_2022.ROBUST:
        assert len(trials.groups(name, "accuracy")) == 2
        found = buchel_2022.worst(trials.groups(name, "accuracy"))
        assert found.value > buchel_2022.BEST_PUBLISHED_WORST


def test_the_network_of_the_authors_code() -> None:
    model = buchel_2022.authors_network(0)
    assert sum(p.numel() for p in model.parameters()) == 493_642
    images = torch.rand(4, 1, 28, 28)
    assert model(images).shape == (4, 10)
    maps = [x.shape[-1] for x in _outputs(model, images) if x.dim() == 4]
    assert maps == [28, 31, 28, 14, 14, 11, 5, 5]
    normalized = buchel_2022.Normalize()(torch.rand(100, 3) * 5 + 2)
    torch.testing.assert_close(normalized.mean(0), torch.zeros(3), atol=1e-5, rtol=0)


def _outputs(model: torch.nn.Sequential, x: torch.Tensor) -> list[torch.Tensor]:
    found = []
    for layer in model:
        x = layer(x)
        found.append(x)
    return found


def test_two_of_three_images_are_changed() -> None:
    draws = torch.Generator().manual_seed(0)
    images = torch.rand(900, 1, 28, 28)
    changed = buchel_2022.augmented(images, draws)
    moved = (changed - images).abs().amax((1, 2, 3)) > 1e-3
    assert moved.float().mean().item() == pytest.approx(2 / 3, abs=0.05)
    assert (buchel_2022.augmented(torch.ones(10, 1, 28, 28), draws) - 1).abs().max() < 1e-5


def test_biases_have_mismatch_too() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(300, 300))
    layer = model[0]
    assert isinstance(layer, torch.nn.Linear)
    chips = buchel_2022.Chips(model)
    analog = chips.program(1)[0]  # type: ignore[index]
    for exact, found in (
        (layer.weight.detach(), analog.programmed_weight()),
        (chips.biases["0"], analog.bias),
    ):
        error = (found / exact - 1).detach()
        assert error.std().item() == pytest.approx(buchel_2022.ZETA, rel=0.15)
    before = analog.bias.detach().clone()
    assert not torch.equal(chips.program(2)[0].bias, before)  # type: ignore[index]
    assert torch.equal(chips.program(1)[0].bias, before)  # type: ignore[index]
