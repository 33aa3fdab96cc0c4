"""Worst chips under mismatch: the expected minimum, and the committed numbers."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch

from benchmarks.papers import buchel_2022
from benchmarks.papers import buchel_2022_training as training
from benchmarks.papers.mnist import Digits
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


def test_standard_training_agrees_with_the_published_means() -> None:
    """The key numbers: 61.14 % at a mismatch of 0.5, and 42.46 % for the worst chip."""
    trials = Trials(RESULTS / f"{buchel_2022.NAME}.csv")
    found = {row.key: row for row in buchel_2022.rows(trials)}
    assert found["standard, mean at 0.5"].agrees
    assert found["standard, worst"].agrees
    assert found["standard, mean at 0.5"].cimsim.count == 100


def test_longer_training_at_a_small_rate_loses_more() -> None:
    trials = Trials(RESULTS / f"{buchel_2022.NAME}.csv")

    def mean(arm: str, epochs: int) -> float:
        (values,) = trials.groups(arm, f"accuracy after {epochs} epochs")
        return sum(values) / len(values)

    for arm in buchel_2022.SCHEDULES:
        assert mean(arm, 2) > mean(arm, 12) > mean(arm, 32)
    for epochs in (2, 32):
        assert mean(buchel_2022.AUTHORS, epochs) < mean(buchel_2022.FASTER, epochs) - 5


def test_the_network_of_the_authors_code() -> None:
    model = training.authors_network(0)
    assert sum(p.numel() for p in model.parameters()) == 493_642
    images = torch.rand(4, 1, 28, 28)
    assert model(images).shape == (4, 10)
    maps = [x.shape[-1] for x in _outputs(model, images) if x.dim() == 4]
    assert maps == [28, 31, 28, 14, 14, 11, 5, 5]
    normalized = training.Normalize()(torch.rand(100, 3) * 5 + 2)
    torch.testing.assert_close(normalized.mean(0), torch.zeros(3), atol=1e-5, rtol=0)


def _outputs(model: torch.nn.Sequential, x: torch.Tensor) -> list[torch.Tensor]:
    found = []
    for layer in model:
        x = layer(x)
        found.append(x)
    return found


def test_half_of_the_changed_images_are_mirrored() -> None:
    draws = torch.Generator().manual_seed(0)
    images = torch.zeros(900, 1, 28, 28)
    images[:, :, 10:18, :8] = 1.0
    changed = training.changed(images, draws)
    left, right = changed[..., :14].sum((1, 2, 3)), changed[..., 14:].sum((1, 2, 3))
    assert (right > left).float().mean().item() == pytest.approx(0.5, abs=0.05)
    assert (training.changed(torch.ones(10, 1, 28, 28), draws) - 1).abs().max() < 1e-5


@pytest.fixture
def images() -> Digits:
    """Random images, whose brightness is their label."""
    draws = torch.Generator().manual_seed(0)
    labels = torch.arange(200) % 10
    return Digits(torch.rand(200, 1, 28, 28, generator=draws) * labels.view(-1, 1, 1, 1), labels)


def test_a_fifth_of_all_images_is_for_validation(images: Digits) -> None:
    train, chosen_by = training.split(images, 0)
    assert (len(train.y), len(chosen_by.y)) == (480, 120)
    every = torch.cat([train.x, chosen_by.x]).float()
    labels = torch.cat([train.y, chosen_by.y])
    for image, label in zip(images.x[:20], images.y[:20], strict=True):
        same = (every - image).abs().amax((1, 2, 3)) < 1e-2
        assert labels[same].tolist() == [label] if label else same.any()


def test_a_training_goes_on_where_it_was_stopped(
    images: Digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "STEPS_BETWEEN_VALIDATIONS", 2)
    train, chosen_by = training.split(images, 0)
    found = []
    for name, parts in (("whole", [(2, 1)]), ("stopped", [(1, 0), (2, 1)])):
        for epochs in parts:
            schedule = training.Schedule(epochs, (1e-3, 1e-4))
            each = training.Training.begin(tmp_path / name, 0, schedule)
            each.run(train, chosen_by, lambda _: None)
        found.append(each)
        assert (each.epoch, each.optimizer.param_groups[0]["lr"]) == (3, 1e-4)
    whole, stopped = found
    assert (whole.best_step, whole.best_validation) == (stopped.best_step, stopped.best_validation)
    for first, second in zip(whole.model.parameters(), stopped.model.parameters(), strict=True):
        assert torch.equal(first, second)
    chosen = training.validate(whole.chosen(), chosen_by)
    assert chosen == pytest.approx(whole.best_validation, abs=1.0)


def test_weights_and_biases_have_mismatch() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(300, 300))
    layer = model[0]
    assert isinstance(layer, torch.nn.Linear)
    chips = buchel_2022.Chips(model)
    digital = chips.program(1)
    found = {name: each.detach().clone() for name, each in digital.named_parameters()}
    for name, exact in model.named_parameters():
        error = (found[name] / exact - 1).detach()
        assert error.std().item() == pytest.approx(buchel_2022.ZETA, rel=0.15)
    x = torch.rand(5, 300)
    with torch.no_grad():
        sums = chips.analog(x) - layer.bias + found["0.bias"]
        torch.testing.assert_close(digital(x), sums, rtol=1e-4, atol=1e-4)
    assert not torch.equal(chips.program(2).get_parameter("0.bias"), found["0.bias"])
    for name, each in chips.program(1).named_parameters():
        assert torch.equal(each, found[name])
