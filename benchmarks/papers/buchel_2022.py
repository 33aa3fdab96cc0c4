"""Worst chips under mismatch (Büchel 2022): the minimum over chips of Table 1, at zeta 0.5.

    python -m benchmarks.papers.buchel_2022 --data-dir DIR [--seeds 0] [--runs runs/buchel]

Fashion-MNIST, the 493,642-parameter CNN, every weight multiplied by 1 + 0.5 xi once for each chip.
The minimum over n chips falls with n. The published one is over 100 chips of each of two trained
networks. Standard training runs here twice: as the arm of :mod:`benchmarks.mismatch` of that name,
and with the network, images and rates of the authors' code; both are shorter than the published
training. The accuracies of `robust` are those that :mod:`benchmarks.mismatch` measured. What is
finished is kept, so the same command resumes.
"""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

import cimsim
from benchmarks import mismatch
from benchmarks.lines import Lines
from benchmarks.papers.command import arguments
from benchmarks.papers.mnist import accuracy, digits, train
from benchmarks.papers.record import RESULTS, Measured, Paper, Published, Row
from benchmarks.papers.trials import Trials
from cimsim.analysis.sweeps.axis import parse_axis
from cimsim.runs.compare import Arm, compare
from cimsim.seeds import generator
from cimsim.training.data.mnist import FASHION_MNIST
from cimsim.training.records import read_metrics

NAME = "buchel_2022"
CITATION = (
    "J. Büchel, F. Faber, D. R. Muir, *Network insensitivity to parameter noise via parameter "
    "attack during training*, ICLR 2022, arXiv:2106.05009."
)
WHERE = "Table 1, F-MNIST CNN"
ZETA = 0.5
AXIS = parse_axis(f"cell.programming_noise.0.sigma_of_g={ZETA}")
CHIPS, PUBLISHED_CHIPS = 100, 200
(STANDARD,) = (arm for arm in mismatch.ARMS if arm.name == "standard")
AUTHORS, EPOCHS, TEST_BATCH = "standard, as in the authors' code", (2, 1), 500
AUTHORS_CHIPS, FEW_CHIPS, FEW_IMAGES = 20, 5, 2000
ROBUST = tuple(arm.name for arm in mismatch.ARMS if arm.name.startswith(mismatch.OURS))
PUBLISHED_MEAN, PUBLISHED_WORST, BEST_PUBLISHED_WORST = 61.14, 42.46, 86.84
DIFFERENCES = (
    "The authors' code differs from `standard` of this project in more than the length: Adam with "
    "a rate of 0.001 for 32 epochs and 0.0001 for 8 of 144,000 images, two thirds of which are "
    "rotated or mirrored, in batches of 100; images and the last hidden layer are normalized over "
    "the batch; the first convolution is padded to 28 x 28; biases have mismatch, too. Here the "
    "rate falls along a cosine, biases are digital, and there is none of the others. *As in the "
    f"authors' code* has all of them, but {EPOCHS[0]} and {EPOCHS[1]} epochs of 60,000 images, and "
    "the last network in place of the one of the best validation."
)
OF_ONE = "chips of one training"
TRAINED_ON, PUBLISHED_TRAINED_ON = 60_000, 40 * 144_000
WHY_MEAN = (
    f"trained on {STANDARD.settings['epochs'] * TRAINED_ON:,} images here, "
    f"{PUBLISHED_TRAINED_ON:,} in the paper. Whether that is the reason was not shown: with the "
    "network, images, rates and mismatch of biases of the authors' code, but three epochs, the "
    "mean is not lower (see above), and their full length and their choice by validation were not "
    "run"
)
WHY_WORST = "see the row above; 100 chips here, 200 in the paper"


def minimum_of(values: Sequence[float], count: int) -> tuple[float, float]:
    """Mean and standard deviation of the minimum of ``count`` of ``values``, without replacement.

    The k-th smallest of n values is the minimum in C(n - k, count - 1) of all C(n, count) choices.
    """
    ordered, every = sorted(values), math.comb(len(values), count)
    shares = [
        math.comb(len(ordered) - place, count - 1) / every for place in range(1, len(ordered) + 1)
    ]
    mean = sum(share * value for share, value in zip(shares, ordered, strict=True))
    square = sum(
        share * float((value - mean) ** 2) for share, value in zip(shares, ordered, strict=True)
    )
    return mean, math.sqrt(square)


def worst(groups: Sequence[Sequence[float]]) -> Measured:
    """The worst of all chips.

    Its error is the spread of the worst of half of the chips, which is wider than that of all.
    """
    every = [value for group in groups for value in group]
    of = f"the worst of {len(every)} chips of {len(groups)} training{'s' * (len(groups) > 1)}"
    return Measured(min(every), minimum_of(every, len(every) // 2)[1], 0, of)


def read_robust(trials: Trials) -> None:
    """Keep the accuracies of ``robust`` that :mod:`benchmarks.mismatch` measured."""
    with (mismatch.RESULTS / "mismatch.csv").open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            name, _, seed = line["run"].rpartition(", seed ")
            chip = int(line["chip"])
            known = trials.has(name, "accuracy", int(seed), chip)
            if name in ROBUST and float(line["level"]) == ZETA and not known:
                trials.add(name, "accuracy", int(seed), chip, 100 * float(line["accuracy"]), 0.0)


def train_and_evaluate(
    arm: Arm, seed: int, chips: int, data_dir: Path, runs: Path, trials: Trials
) -> None:
    """Train without noise, and keep the accuracy of each chip."""
    if trials.has(arm.name, "accuracy", seed, chips - 1):
        return
    start = time.perf_counter()
    (outcome,) = compare(
        [arm],
        {**mismatch.COMMON, "data_dir": data_dir},
        AXIS,
        out=runs,
        chips=chips,
        seeds=[seed],
        watch=Lines,
        progress=lambda done, total, doing: print(f"{doing}: {done}/{total}", flush=True),
    )
    seconds = time.perf_counter() - start
    trained = sum(float(epoch["seconds"]) for epoch in read_metrics(outcome.runs[0].path))
    trials.add(arm.name, "digital accuracy", seed, -1, 100 * outcome.digital, trained)
    each = max(0.0, seconds - trained) / chips
    for trial in outcome.sweeps[0].trials:
        value = 100 * trial.scores["accuracy"]
        trials.add(arm.name, "accuracy", seed, trial.chip, value, each)


class Normalize(nn.Module):
    """Subtract the mean over the batch (and all places of a channel), divide by the spread."""

    def forward(self, x: Tensor) -> Tensor:
        """``[n, channels, ...]`` to the same shape."""
        return nn.functional.batch_norm(x, None, None, training=True)


def begin(layer: nn.Conv2d | nn.Linear, fans: int, draws: torch.Generator) -> None:
    """Normal weights and biases of the authors' scale, at most two of it."""
    scale = (6 / fans) ** 0.5
    for each in layer.parameters():
        nn.init.trunc_normal_(each, 0.0, scale, -2 * scale, 2 * scale, generator=draws)


def authors_network(seed: int) -> nn.Sequential:
    """The network of the authors' code: normalized over the batch, first convolution padded."""
    conv = [nn.Conv2d(1, 64, 4), nn.Conv2d(64, 64, 4)]
    dense = [nn.Linear(1600, 256), nn.Linear(256, 64), nn.Linear(64, 10)]
    draws = torch.Generator().manual_seed(seed)
    for kernel in conv:
        begin(kernel, kernel.out_channels * kernel.in_channels * sum(kernel.kernel_size), draws)
    for layer in dense:
        begin(layer, layer.in_features + layer.out_features, draws)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(
        Normalize(),
        nn.ZeroPad2d((2, 1, 2, 1)),
        *(conv[0], nn.MaxPool2d(2), nn.ReLU(), conv[1], nn.MaxPool2d(2), nn.ReLU(), nn.Flatten()),
        *(dense[0], nn.ReLU(), dense[1], nn.ReLU(), Normalize(), dense[2]),
    )


def augmented(x: Tensor, draws: torch.Generator) -> Tensor:
    """Two of three images are rotated by up to 10 degrees, and half of those are mirrored."""
    count = len(x)
    changed = torch.rand(count, generator=draws) < 2 / 3
    angle = (torch.rand(count, generator=draws) * 2 - 1) * math.radians(10) * changed
    mirror = 1 - 2 * ((torch.rand(count, generator=draws) < 0.5) & changed).float()
    zero, cos, sin = torch.zeros(count), angle.cos(), angle.sin()
    rows = [mirror * cos, -sin, zero, mirror * sin, cos, zero]
    grid = nn.functional.affine_grid(
        torch.stack(rows, 1).view(count, 2, 3), list(x.shape), align_corners=False
    )
    return nn.functional.grid_sample(x, grid, padding_mode="border", align_corners=False)


class Chips:
    """Chips of a converted network, whose digital biases have mismatch, too."""

    def __init__(self, model: nn.Module) -> None:
        changes = {"cell.programming_noise.0.sigma_of_g": ZETA}
        self.model = cimsim.convert(model, cimsim.load_profile("mismatch", changes)).eval()
        self.layers = cimsim.analog_layers(self.model)
        self.biases = {name: layer.bias.detach().clone() for name, layer in self.layers.items()}

    @torch.no_grad()
    def program(self, chip: int) -> nn.Module:
        """Sample all weights and biases."""
        cimsim.program(self.model, chip)
        for name, layer in self.layers.items():
            draws = generator("buchel 2022", "bias", name, chip)
            xi = torch.randn(self.biases[name].shape, generator=draws)
            layer.bias.copy_(self.biases[name] * (1 + ZETA * xi))
        return self.model


def measure_authors(seed: int, data_dir: Path, trials: Trials) -> None:
    """Train and evaluate standard training as in the authors' code, with fewer epochs."""
    if trials.has(AUTHORS, "accuracy", seed, AUTHORS_CHIPS - 1):
        return
    data, test = digits(data_dir, FASHION_MNIST)
    few, draws = test.part(torch.arange(FEW_IMAGES)), torch.Generator().manual_seed(seed)
    model = authors_network(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [EPOCHS[0]], 0.1)

    def on_chips(epoch: int) -> None:
        schedule.step()
        chips, after = Chips(model), f"after {epoch + 1} epochs"
        value = accuracy(model, few, TEST_BATCH)
        trials.add(AUTHORS, f"digital accuracy {after}", seed, -1, value, 0.0)
        for chip in range(FEW_CHIPS):
            value = accuracy(chips.program(chip), few, TEST_BATCH)
            trials.add(AUTHORS, f"accuracy {after}", seed, chip, value, 0.0)

    start = time.perf_counter()
    train(
        model,
        data,
        optimizer,
        sum(EPOCHS),
        seed,
        batch=100,
        each_epoch=on_chips,
        augment=lambda x: augmented(x, draws),
    )
    value, seconds = accuracy(model, test, TEST_BATCH), time.perf_counter() - start
    trials.add(AUTHORS, "digital accuracy", seed, -1, value, seconds)
    chips = Chips(model)
    for chip in range(AUTHORS_CHIPS):
        trials.measure(
            AUTHORS,
            "accuracy",
            seed,
            chip,
            lambda: accuracy(chips.program(chip), test, TEST_BATCH),  # noqa: B023
        )


def rows(trials: Trials) -> Iterator[Row]:
    """Published numbers and ours."""
    groups = trials.groups(STANDARD.name, "accuracy")
    ours = Measured.mean([value for group in groups for value in group], OF_ONE)
    yield Row(
        "standard, mean",
        f"{STANDARD.name}: mean over chips",
        "%",
        Published.over(PUBLISHED_MEAN, ours.spread, PUBLISHED_CHIPS, WHERE, "chips, of cimsim"),
        ours,
        WHY_MEAN,
    )
    ours = worst(groups)
    yield Row(
        "standard, worst",
        f"{STANDARD.name}: worst chip",
        "%",
        Published.one_draw(PUBLISHED_WORST, ours.standard_error, WHERE, "set of 200 chips"),
        ours,
        WHY_WORST,
    )


def worst_of_robust(trials: Trials) -> str:
    """A paragraph on the worst chips of our training beside the best published ones."""
    found = [f"{name}: {worst(trials.groups(name, 'accuracy')).text} %" for name in ROBUST]
    return (
        f"The best published worst chip has {BEST_PUBLISHED_WORST} %, after training with noise "
        f"and attacked weights, which was not run here. {'; '.join(found)}."
    )


def lengths(trials: Trials) -> str:
    """A paragraph on what standard training loses from epoch to epoch."""
    parts = []
    for epoch in range(1, sum(EPOCHS) + 1):
        values = trials.groups(AUTHORS, f"accuracy after {epoch} epochs")[0]
        digital = trials.groups(AUTHORS, f"digital accuracy after {epoch} epochs")[0][0]
        parts.append(f"{epoch}: {Measured.mean(values, '').text} % ({digital:.2f} %)")
    every = Measured.mean(trials.groups(AUTHORS, "accuracy")[0], "")
    return (
        f"As in the authors' code: {every.text} % on {every.count} chips with a mismatch of "
        f"{ZETA:g}. By epochs: accuracy on {FEW_CHIPS} chips and {FEW_IMAGES:,} test images "
        f"(without mismatch): {', '.join(parts)}."
    )


def paper(seeds: Sequence[int], trials: Trials) -> Paper:
    """The rows from the trials."""
    names = {STANDARD.name: STANDARD.name} | dict(zip(ROBUST, ROBUST, strict=True))
    expected = []
    for name in names:
        for seed, group in enumerate(trials.groups(name, "accuracy")):
            values = [f"{minimum_of(group, n)[0]:.2f}" for n in (10, 25, 50, len(group))]
            expected.append(f"{name}, training {seed}: {', '.join(values)}")
    return Paper(
        NAME,
        "Worst chips under mismatch of every weight, Fashion-MNIST",
        CITATION,
        f"python -m benchmarks.papers.{NAME} --data-dir DIR --seeds {','.join(map(str, seeds))}",
        tuple(rows(trials)),
        (
            "The number of chips of the published minimum, 100 of each of two networks, is that of "
            "the text and of `Experiments/mismatch_experiment.py` in the authors' repository "
            "`jubueche/BPTT-Lipschitzness`, which takes the minimum over all chips of a method.",
            "Expected worst of 10, 25, 50 and all 100 chips of each training here, in %: "
            + "; ".join(expected)
            + ".",
            worst_of_robust(trials),
            lengths(trials),
            DIFFERENCES,
        ),
        trials.seconds,
    )


def main() -> None:
    """Measure, compare, write."""
    given = arguments(__doc__, runs=Path("runs/buchel"), seeds="0")
    seeds = [int(seed) for seed in given.seeds.split(",")]
    trials = Trials(RESULTS / f"{NAME}.csv")
    read_robust(trials)
    for seed in seeds:
        train_and_evaluate(STANDARD, seed, CHIPS, given.data_dir, given.runs, trials)
    measure_authors(seeds[0], given.data_dir, trials)
    paper(seeds, trials).write()


if __name__ == "__main__":
    main()
