"""NeuRRAM (Wan 2022): fine-tuning of the ResNet-20 with the chip in the loop.

    python -m benchmarks.papers.wan_2022_loop --weights DIR --data-dir DIR

The network of the chip (see :mod:`benchmarks.papers.wan_2022`) is programmed layer by layer. After
each layer, the layers that are not programmed yet are trained on the outputs of the programmed
layers (the part ``chip-in-the-loop`` of ``cimsim adapt``). Chips, profile and images are the same
as in :mod:`benchmarks.papers.wan_2022`, so that each chip is compared with itself. Finished results
are kept, so the same command resumes.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

import cimsim
from benchmarks.papers import wan_2022
from benchmarks.papers.command import arguments
from benchmarks.papers.record import RESULTS, Measured, Paper, Published, Row
from benchmarks.papers.trials import Trials
from benchmarks.papers.wan_2022 import (
    AGE_S,
    BATCH,
    CALIBRATION,
    CHIPS,
    CITATION,
    DEPLOYED,
    ON_CHIP,
    Images,
    checkpoint,
    chip_profile,
    folded,
    network,
    percent,
    quantized,
    right,
)
from cimsim.training.data.cifar10 import read_cifar10

NAME = "wan_2022_loop"
TUNED_ON_CHIP = 85.66
FIGURES = "Fig. 5a and 5b"
BUDGET, TUNING_BATCH, RATE = 111, 64, 3e-4  # one batch finds the order of the layers
ARM = "chip in the loop"


def training_batches(folder: Path) -> list[tuple[Tensor, Tensor]]:
    """As many random batches of training images as the budget allows."""
    train, _ = read_cifar10(folder, download=False)
    order = torch.randperm(len(train.labels), generator=torch.Generator().manual_seed(0))
    rows = order[: BUDGET * TUNING_BATCH].numpy()
    x, y = quantized(train.pixels[rows]), torch.from_numpy(train.labels[rows]).long()
    return list(zip(x.split(TUNING_BATCH), y.split(TUNING_BATCH), strict=True))


def measure(weights: Path, data_dir: Path, trials: Trials) -> None:
    """Each chip before and after fine-tuning."""
    images, batches = Images.read(data_dir, 10_000), training_batches(data_dir)
    known = Trials(RESULTS / f"{wan_2022.NAME}.csv")
    for chip in range(CHIPS):
        if trials.has(ARM, "after", 0, chip):
            continue
        model = folded(network(checkpoint(weights, DEPLOYED)))
        model = cimsim.convert(model, chip_profile()).eval()
        cimsim.calibrate(model, images.x[:CALIBRATION].split(BATCH))  # as in wan_2022
        cimsim.age(cimsim.program(model, chip), AGE_S)
        before = known.values[(wan_2022.DEPLOYED_ARM, "accuracy", 0, chip)]
        trials.add(ARM, "before", 0, chip, before, 0.0)
        result = cimsim.adapt(model, batches, f"chip-in-the-loop:lr={RATE}", budget=BUDGET)
        trials.add(ARM, "batches", 0, chip, result.total["batches"], result.total["seconds"])
        trials.measure(ARM, "after", 0, chip, lambda: percent(right(model, images), images))  # noqa: B023


def paper(trials: Trials) -> Paper:
    """The rows from the trials."""
    before, after = (trials.groups(ARM, when)[0] for when in ("before", "after"))
    gained = [second - first for first, second in zip(before, after, strict=True)]
    rows = []
    for key, words, published, values in (
        ("after", "accuracy after fine-tuning", TUNED_ON_CHIP, after),
        ("gain", "gain of fine-tuning, computed chip by chip", TUNED_ON_CHIP - ON_CHIP, gained),
    ):
        ours = Measured.mean(values, "chips of reram-wan-2022")
        theirs = Published.one_draw(published, ours.spread, FIGURES)
        rows.append(Row(key, words, "%", theirs, ours))
    return Paper(
        NAME,
        "NeuRRAM: ResNet-20 on CIFAR-10, fine-tuned with the chip in the loop",
        CITATION,
        f"python -m benchmarks.papers.{NAME} --weights DIR --data-dir DIR",
        tuple(rows),
        (
            f"Before fine-tuning, the accuracy of the real chip was {ON_CHIP} % (see [its "
            "page](wan_2022.md)). The chips of cimsim have these accuracies before and after "
            "fine-tuning: "
            + "; ".join(f"{a:.2f} % and {b:.2f} %" for a, b in zip(before, after, strict=True))
            + ".",
            f"Fine-tuning uses {BUDGET - 1} batches of {TUNING_BATCH} training images per chip "
            f"for all 22 layers together, and Adam with a learning rate that falls from {RATE:g} "
            "to zero for each layer. One more batch determines the order of the layers. The "
            "targets are the outputs of the digital network, and the layers that are not "
            "programmed yet have no noise during their training. The authors trained after each "
            "layer for up to 200 epochs of all 50,000 images, with Adam (0.0001), labels, and "
            "weight noise of 20 % (`cifar10_resnet/forward_finetune.py` of the repository).",
            "During fine-tuning, layers are measured right after programming; in the test, all "
            "layers are half an hour old.",
        ),
        trials.seconds,
    )


def main() -> None:
    """Measure, compare, write."""
    given = arguments(__doc__, weights=True)
    trials = Trials(RESULTS / f"{NAME}.csv")
    measure(given.weights, given.data_dir, trials)
    paper(trials).write()


if __name__ == "__main__":
    main()
