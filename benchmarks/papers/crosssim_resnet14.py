"""CrossSim's tutorial of inference (ISCA 2024, part 2): ResNet-14 for CIFAR-10 on two devices.

    python -m benchmarks.papers.crosssim_resnet14 --weights DIR --data-dir DIR [--chips 5]

CrossSim's network with its weights, as ``resnet14.safetensors``; the first 5,000 test images; cells
of Milo et al. (2021) and of Agrawal et al. (2022), 8-bit converters, tiles of at most 576 rows and
one digital scale for a layer, as in ``benchmarks.published_resnets``.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import cimsim
from benchmarks.papers.record import RESULTS, Measured, Paper, Published, Row
from benchmarks.papers.trials import Trials
from benchmarks.published_resnets import AS_PUBLISHED, MEAN, STD, accuracy, load
from cimsim.training.data.cifar10 import read_cifar10

NAME = "crosssim_resnet14"
CITATION = (
    "CrossSim (Sandia National Laboratories), tutorial at ISCA 2024, notebook "
    "`isca24_models.ipynb`, part 2; devices of V. Milo et al., IRPS 2021, and V. Agrawal et al., "
    "IMW 2022."
)
WHERE = "tutorial/ISCA2024, part 2"
IMAGES, DIGITAL = 5000, 89.40
DEVICES = {"reram-milo-2021": 64.48, "sonos-agrawal-2022": 88.86}


def images(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> Tensor:
    """Normalized as the network expects them."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    normalized: Tensor = (torch.from_numpy(pixels.copy()).float() / 255 - mean) / std
    return normalized


def measure(weights: Path, data_dir: Path, chips: int, trials: Trials) -> None:
    """Evaluate what is not known yet."""
    train, test = read_cifar10(data_dir, download=False)
    x, y = images(test.pixels[:IMAGES]), torch.from_numpy(test.labels[:IMAGES])
    digital = load(14, weights)
    trials.measure("digital", "accuracy", 0, -1, lambda: accuracy(digital, x, y))
    for device in DEVICES:
        if trials.has(device, "accuracy", 0, chips - 1):
            continue
        model = cimsim.convert(load(14, weights), cimsim.load_profile(device, AS_PUBLISHED)).eval()
        cimsim.calibrate(model, [images(train.pixels[:500])])
        for chip in range(chips):
            cimsim.program(model, chip)
            trials.measure(device, "accuracy", 0, chip, lambda: accuracy(model, x, y))  # noqa: B023


def paper(trials: Trials) -> Paper:
    """All rows; the published numbers are one chip each."""
    digital = Measured(trials.groups("digital", "accuracy")[0][0])
    rows = [
        Row("digital", "digital", "%", Published.printed(DIGITAL, 0.01, WHERE), digital),
    ]
    chips = 0
    for device, value in DEVICES.items():
        ours = Measured.mean(trials.groups(device, "accuracy")[0], "chips")
        chips = ours.count
        spread = ours.standard_error * chips**0.5
        published = Published.one_draw(value, spread, WHERE)
        rows.append(Row(device, f"on chips of `{device}`", "%", published, ours))
    return Paper(
        NAME,
        "CrossSim's tutorial: ResNet-14 for CIFAR-10 on two devices",
        CITATION,
        "python -m benchmarks.papers.crosssim_resnet14 --weights DIR --data-dir DIR "
        f"--chips {chips}",
        tuple(rows),
        (
            f"The first {IMAGES} test images. A published number is one chip; its spread is that "
            "of cimsim's chips.",
        ),
        trials.seconds,
    )


def main() -> None:
    """Measure, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--chips", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    trials = Trials(RESULTS / f"{NAME}.csv")
    measure(given.weights, given.data_dir, given.chips, trials)
    paper(trials).write()


if __name__ == "__main__":
    main()
