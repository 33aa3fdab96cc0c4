"""ResNets for CIFAR-10 of several papers: scores, training, chips, and their key numbers."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import cimsim
from benchmarks.papers import cifar_chips, crosssim_resnets, joshi_2020, wu_2026
from benchmarks.papers.cifar_chips import Images, Reference, against, augmented, gain_of, kept
from benchmarks.papers.joshi_2020 import Condition
from benchmarks.papers.record import RESULTS
from benchmarks.papers.trials import Trials
from benchmarks.published_resnets import load, with_norms
from cimsim.profile import override_profile
from cimsim.training.data import DataSet


def some_images(count: int = 8) -> Images:
    return Images(torch.randn(count, 3, 32, 32), torch.arange(count) % 10)


class Answers(nn.Module):
    """A network that answers ``classes``, one image after another."""

    def __init__(self, classes: list[int]) -> None:
        super().__init__()
        self.classes = torch.tensor(classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.one_hot(self.classes, 10)[: len(x)].float()


# Scores.


def test_the_difference_of_chips_and_digital_network(tmp_path: Path) -> None:
    """Two of ten images change, to the better and to the worse, on both chips."""
    images = Images(torch.zeros(10, 1), torch.zeros(10, dtype=torch.long))
    reference = Reference.of(Answers([0] * 5 + [1] * 5), images)
    trials = Trials(tmp_path / "trials.csv")
    for chip in range(2):
        reference.score(trials, "arm", chip, lambda: Answers([1] + [0] * 5 + [1] * 4))
    assert trials.groups("arm", "accuracy") == [[50.0, 50.0]]
    assert trials.groups("arm", "changed") == [[20.0, 20.0]]
    found = against(trials, "arm", 50.0, 10)
    assert found.value == 0
    assert found.standard_error == pytest.approx(100 * (0.2 / 10) ** 0.5)
    reference.score(trials, "arm", 1, lambda: pytest.fail("evaluated again"))


def test_gains_are_counted_chip_by_chip(tmp_path: Path) -> None:
    trials = Trials(tmp_path / "trials.csv")
    for chip, (before, after) in enumerate([(10.0, 12.0), (50.0, 52.0)]):
        trials.add("before", "accuracy", 0, chip, before, 0.0)
        trials.add("after", "accuracy", 0, chip, after, 0.0)
    assert gain_of(trials, "before", "after") == cifar_chips.Measured(2.0, 0.0, 2, "chips")


def test_a_table_in_markdown() -> None:
    assert cifar_chips.grid(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


# Training.


def test_an_epoch_has_every_image_once() -> None:
    images = some_images()
    batches = list(augmented(images, steps=4, size=4, shift=0, seed=0))
    for first in (0, 2):
        x, y = (torch.cat(parts) for parts in zip(*batches[first : first + 2], strict=True))
        assert sorted(y.tolist()) == images.y.tolist()
        for image, label in zip(x, y, strict=True):
            original = images.x[label]
            assert torch.equal(image, original) or torch.equal(image, original.flip(-1))
    again = list(augmented(images, steps=4, size=4, shift=0, seed=0))
    assert all(torch.equal(a[0], b[0]) for a, b in zip(batches, again, strict=True))


def test_images_are_shifted_by_some_pixels() -> None:
    images = Images(torch.ones(64, 1, 8, 8), torch.zeros(64, dtype=torch.long))
    ((x, _),) = augmented(images, steps=1, size=64, shift=2, seed=0)
    empty_rows = (x[:, 0].sum(2) == 0).sum(1)
    assert x.shape == images.x.shape
    assert set(empty_rows.tolist()) == {0, 1, 2}


def test_weights_are_clipped_by_the_deviation_of_their_layer() -> None:
    model = cimsim.convert(nn.Linear(100, 100), "ideal")
    with torch.no_grad():
        model.weight.normal_()
        bound = 2 * model.weight.std().item()
    joshi_2020.clip_by_layer(model)
    assert model.weight.abs().max().item() == pytest.approx(bound)


def test_a_training_is_kept(tmp_path: Path) -> None:
    trials, file = Trials(tmp_path / "trials.csv"), tmp_path / "runs" / "net.safetensors"

    def train(model: nn.Module) -> None:
        nn.init.constant_(model.weight, 3.0)  # type: ignore[arg-type]

    first = kept(file, nn.Linear(2, 2), train, trials, "arm")
    assert trials.has("arm", "training", 0)
    again = kept(file, nn.Linear(2, 2), lambda model: pytest.fail("trained again"), trials, "arm")
    assert torch.equal(first.weight, again.weight)
    assert (again.weight == 3.0).all()


def test_training_for_noise_returns_a_digital_network(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(3600, 10))
    before = model[0].weight.clone()
    joshi_2020.train(model, some_images(), steps=2)
    assert not any(isinstance(layer, cimsim.nn.AnalogLayer) for layer in model.modules())
    assert not torch.equal(model[0].weight, before)
    assert model[0].weight.abs().max() <= 2 * before.std()


# Chips.


@pytest.mark.parametrize("condition", joshi_2020.CONDITIONS, ids=lambda each: each.name)
def test_conditions_of_joshi(condition: Condition) -> None:
    profile = joshi_2020.chip_profile(condition)
    assert profile.array.weight_scale == "layer"
    assert profile.dac.bits is None
    assert profile.adc.bits is None
    assert (profile.array.drift_compensation == "none") is (
        condition.care in (joshi_2020.NONE, joshi_2020.GAUSSIAN)
    )
    if condition is joshi_2020.TRANSFER:
        assert not any(effect.strength for effect in profile.cell.read_noise)


def test_adabs_measures_the_statistics_on_the_chip() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval()
    chip = joshi_2020.on_chip(model, joshi_2020.ADABS_DAY, 0, some_images())
    x = some_images().x
    out = chip[0](x)
    torch.testing.assert_close(chip[1].running_mean, out.mean((0, 2, 3)), rtol=0.2, atol=0.02)
    assert (model[1].running_mean == 0).all()


@pytest.mark.parametrize("window", [10.0, 25.0])
def test_noise_in_uS_does_not_depend_on_the_window(window: float) -> None:
    """Equation 2 of Wu et al. at the largest weight: 0.26348 + 1.9650 - 1.1731 uS, here of the
    pair's difference, whose other cell is written to 0."""
    torch.manual_seed(0)
    layer = nn.Linear(200, 200, bias=False)
    with torch.no_grad():
        layer.weight.fill_(1.0)
    without_reads = {"cell.read_noise.0.strength": 0.0}
    profile = override_profile(wu_2026.profile(window, 1.0), without_reads)
    analog = cimsim.convert(layer, profile).eval()
    cimsim.program(analog, 0)
    spread = analog.programmed_weight().std().item() * window
    off = 0.26348 * (0.5 - 0.5 / torch.pi) ** 0.5
    assert spread == pytest.approx(((0.26348 + 1.9650 - 1.1731) ** 2 + off**2) ** 0.5, rel=0.02)


def test_normalized_accuracy(tmp_path: Path) -> None:
    """A chip with 82 % where the digital network has 90 % and chance is 10 %: A* is 90 %."""
    trials = Trials(tmp_path / "trials.csv")
    trials.add("digital", "accuracy", 0, -1, 90.0, 0.0)
    trials.add("digital", "images", 0, -1, 1000.0, 0.0)
    for chip in range(2):
        trials.add(wu_2026.STANDARD[0].name, "accuracy", 0, chip, 82.0, 0.0)
        trials.add(wu_2026.STANDARD[0].name, "changed", 0, chip, 8.0, 0.0)
    found = wu_2026.normalized(trials, wu_2026.STANDARD[0])
    assert found.value == pytest.approx(90.0)
    assert found.standard_error == pytest.approx(125 * ((0.08 - 0.08**2) / 1000) ** 0.5)


# The committed results.


def test_training_recovers_what_the_chip_costs() -> None:
    """ResNet-14 on the cells of Milo et al., 65.0 % before; ResNet-32 on phase-change memory."""
    crosssim = Trials(RESULTS / "crosssim_resnets.csv")
    device, tuned = (
        sum(cifar_chips.chips_of(crosssim, arm)) / 5
        for arm in (crosssim_resnets.RERAM, crosssim_resnets.TUNED)
    )
    assert device == pytest.approx(65.0, abs=0.1)
    assert tuned > device + 15
    joshi = {row.key: row for row in joshi_2020.rows(Trials(RESULTS / "joshi_2020.csv"))}
    assert all(joshi[key].agrees for key in ("untuned", "kept", "kept adabs", "gain day"))
    assert joshi["gain year"].agrees


# Key numbers, from the data sets.


@pytest.fixture(scope="module")
def weights() -> Path:
    """Folder of the published networks."""
    folder = Path(os.environ.get("CIMSIM_DATA", "")) / "cifar10-resnets"
    if not folder.is_dir():
        pytest.skip("needs cifar10-resnets in $CIMSIM_DATA")
    return folder


@pytest.fixture(scope="module")
def images(real_data: Callable[[str], DataSet]) -> tuple[Images, Images]:
    """The images of CIFAR-10."""
    real_data("cifar10")
    return cifar_chips.read_images(Path(os.environ["CIMSIM_DATA"]))


@pytest.mark.slow
def test_resnet14_loses_what_crosssim_published(
    weights: Path, images: tuple[Images, Images], tmp_path: Path
) -> None:
    """90.4 % of the first 500 images, and the committed accuracy on the first chip."""
    bench = crosssim_resnets.Bench(
        weights, Path(os.environ["CIMSIM_DATA"]), tmp_path, Trials(tmp_path / "trials.csv")
    )
    few = images[1].first(crosssim_resnets.FEW)
    digital = load(14, weights)
    assert cifar_chips.percent(cifar_chips.right(digital, few)) == pytest.approx(90.4, abs=0.2)
    committed = Trials(RESULTS / "crosssim_resnets.csv")
    for device in crosssim_resnets.DEVICES:
        found = cifar_chips.right(bench.programmed(digital, device, 0), few)
        expected = cifar_chips.chips_of(committed, f"ResNet-14, {device}")[0]
        assert cifar_chips.percent(found) == pytest.approx(expected, abs=1.0)


@pytest.mark.slow
def test_resnet32_on_the_cells_of_joshi(weights: Path, images: tuple[Images, Images]) -> None:
    """The committed accuracies of one chip, and random answers without compensation."""
    train, test = images
    committed = Trials(RESULTS / "joshi_2020.csv")
    test = test.first(int(joshi_2020.one(committed, joshi_2020.UNTUNED, "images")))
    model = with_norms(joshi_2020.DEPTH, weights)
    for condition in (joshi_2020.FIRST, joshi_2020.DRIFTED):
        found = cifar_chips.right(joshi_2020.on_chip(model, condition, 0, train), test)
        arm = f"{joshi_2020.UNTUNED}, {condition.name}"
        expected = cifar_chips.chips_of(committed, arm)[0]
        assert cifar_chips.percent(found) == pytest.approx(expected, abs=0.5)
