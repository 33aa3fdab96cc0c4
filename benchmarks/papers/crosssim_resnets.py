"""CrossSim's tutorial of inference (ISCA 2024, part 2): ResNets for CIFAR-10 on two devices.

    python -m benchmarks.papers.crosssim_resnets --weights DIR --data-dir DIR [--chips 5]
        [--runs runs/crosssim_resnets]

CrossSim's networks with their weights, as ``resnet14.safetensors`` and so on; cells of Milo et al.
(2021) and of Agrawal et al. (2022), 8-bit converters, tiles of at most 576 rows and one digital
scale for a layer, as in ``benchmarks.published_resnets``. The tutorial evaluates ResNet-14 on the
first 5,000 test images. Results without a published counterpart use fewer of these images: ways to
recover the accuracy that ResNet-14 loses on the cells of Milo et al., including training for their
noise, and the deeper networks. Finished results are kept, so the same command resumes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import nn

import cimsim
from benchmarks.papers.cifar_chips import (
    Reference,
    augmented,
    chips_of,
    grid,
    kept,
    percent,
    read_images,
    right,
    spread_of,
    tune,
)
from benchmarks.papers.command import arguments
from benchmarks.papers.record import RESULTS, Measured, Paper, Published, Row
from benchmarks.papers.trials import Trials
from benchmarks.published_resnets import AS_PUBLISHED, load, with_norms

NAME = "crosssim_resnets"
CITATION = (
    "CrossSim (Sandia National Laboratories), tutorial at ISCA 2024, notebook "
    "`isca24_codesign.ipynb`, part 2; devices of V. Milo et al., IRPS 2021, and V. Agrawal et al., "
    "IMW 2022."
)
WHERE = "tutorial/ISCA2024, part 2"
IMAGES, DIGITAL, FEW = 5000, 89.40, 500
RERAM, SONOS = "reram-milo-2021", "sonos-agrawal-2022"
DEVICES = {RERAM: 64.48, SONOS: 88.86}
DEPTHS, DEPTH_CHIPS = (14, 20, 32, 56), 3
CALIBRATION, ADAPTATION, ADAPTATION_BATCH = 500, 1024, 128
STEPS, BATCH, LR = 200, 64, 5e-4
TUNED = "tuned"


@dataclass(frozen=True)
class Remedy:
    """A way to recover accuracy on the cells of Milo et al.

    Attributes:
        words: what it does.
        scale: what has a digital scale, a layer or a column.
        folded: whether batch normalization is folded into the convolutions.
        parts: parts of :func:`cimsim.adapt`, for each chip.
        tuned: whether the network is trained for the noise.
    """

    words: str
    scale: str = "layer"
    folded: bool = True
    parts: str = ""
    tuned: bool = False


REMEDIES = (
    Remedy("none, as in the tutorial"),
    Remedy("a digital scale for each column", scale="column"),
    Remedy("converter ranges measured on the chip (`cimsim adapt --parts ranges`)", parts="ranges"),
    Remedy(
        "gain and offset of each column, measured on the chip (`--parts gain-offset`)",
        parts="gain-offset",
    ),
    Remedy("batch normalization stays digital", folded=False),
    Remedy(
        "batch normalization stays digital, its statistics measured on the chip "
        "(`--parts batch-norm`)",
        folded=False,
        parts="batch-norm",
    ),
    Remedy("noise-aware training", tuned=True),
    Remedy(
        "noise-aware training, then gain and offset of each column", tuned=True, parts="gain-offset"
    ),
)


class Bench:
    """Networks, images, and chips that are prepared for an evaluation."""

    def __init__(self, weights: Path, data_dir: Path, runs: Path, trials: Trials) -> None:
        self.weights, self.runs, self.trials = weights, runs, trials
        self.train, self.test = read_images(data_dir)

    def tuned(self) -> nn.Module:
        """ResNet-14 with folded normalization, trained for the noise of the cells."""
        file = self.runs / "resnet14.safetensors"
        return kept(file, load(14, self.weights), self.tune, self.trials, TUNED)

    def tune(self, model: nn.Module) -> None:
        """Train a digital network in place on chips of its device."""
        profile = cimsim.load_profile(RERAM, AS_PUBLISHED)
        analog = cimsim.convert(model, profile, inplace=True)
        calibration = self.train.first(CALIBRATION).batches(100)
        with_noise = cimsim.NoiseAware(analog, STEPS, calibration=calibration)
        batches = augmented(self.train, STEPS, BATCH, shift=0, seed=0)
        tune(analog, batches, torch.optim.AdamW(analog.parameters(), LR), with_noise)
        with_noise.finish()
        cimsim.to_digital(analog, inplace=True)

    def programmed(
        self, model: nn.Module, device: str, chip: int, scale: str = "layer"
    ) -> nn.Module:
        """``model`` on a chip."""
        profile = cimsim.load_profile(device, {**AS_PUBLISHED, "array.weight_scale": scale})
        analog = cimsim.convert(model, profile).eval()
        cimsim.calibrate(analog, [self.train.first(CALIBRATION).x])
        return cimsim.program(analog, chip)

    def remedied(self, remedy: Remedy, chip: int) -> nn.Module:
        """ResNet-14 on a chip of Milo et al. with a remedy."""
        if remedy.tuned:
            model = self.tuned()
        else:
            model = (load if remedy.folded else with_norms)(14, self.weights)
        analog = self.programmed(model, RERAM, chip, remedy.scale)
        if remedy.parts:
            batches = self.train.first(ADAPTATION).batches(ADAPTATION_BATCH)
            cimsim.adapt(analog, batches, remedy.parts)
        return analog


def measure(bench: Bench, chips: int, trials: Trials) -> None:
    """Evaluate what is not known yet."""
    many, few = bench.test.first(IMAGES), bench.test.first(FEW)
    given = load(14, bench.weights)
    trials.measure("digital", "accuracy", 0, -1, lambda: percent(right(given, many)))
    for device in DEVICES:
        for chip in range(chips):

            def accuracy(device: str = device, chip: int = chip) -> float:
                return percent(right(bench.programmed(given, device, chip), many))

            trials.measure(device, "accuracy", 0, chip, accuracy)
    tuned = bench.tuned()
    trials.measure(TUNED, "digital", 0, -1, lambda: percent(right(tuned, many)))
    whole = Reference.of(given, many)
    for chip in range(chips):
        whole.score(trials, TUNED, chip, partial(bench.programmed, tuned, RERAM, chip))
    reference = Reference.of(given, few)
    trials.measure("digital", "few images", 0, -1, lambda: percent(reference.right))
    for remedy in REMEDIES:
        for chip in range(chips):
            reference.score(trials, remedy.words, chip, partial(bench.remedied, remedy, chip))
    for depth in DEPTHS:
        network = load(depth, bench.weights)
        deep = Reference.of(network, few)
        trials.measure(f"ResNet-{depth}", "digital", 0, -1, lambda: percent(deep.right))  # noqa: B023
        for device in DEVICES:
            for chip in range(DEPTH_CHIPS):
                prepare = partial(bench.programmed, network, device, chip)
                deep.score(trials, f"ResNet-{depth}, {device}", chip, prepare)


def rows(trials: Trials) -> list[Row]:
    """Published numbers and ours; a published number of a device is one chip."""
    digital = Measured(trials.groups("digital", "accuracy")[0][0])
    found = [Row("digital", "digital", "%", Published.printed(DIGITAL, 0.01, WHERE), digital)]
    for device, value in DEVICES.items():
        ours = Measured.mean(chips_of(trials, device), "chips")
        published = Published.one_draw(value, spread_of(trials, device), WHERE)
        found.append(Row(device, f"on chips of `{device}`", "%", published, ours))
    return found


def text(trials: Trials, arm: str) -> str:
    """Mean, standard error and worst chip."""
    chips = chips_of(trials, arm)
    return f"{Measured.mean(chips, '').text} ({min(chips):.1f})"


def depth_table(trials: Trials) -> str:
    """Accuracies of all depths."""
    body = [
        [
            f"ResNet-{depth}",
            f"{trials.groups(f'ResNet-{depth}', 'digital')[0][0]:.1f}",
            *(text(trials, f"ResNet-{depth}, {device}") for device in DEVICES),
        ]
        for depth in DEPTHS
    ]
    return grid(["network", "digital", *(f"`{device}`" for device in DEVICES)], body)


def remedy_table(trials: Trials) -> str:
    """Accuracies of ResNet-14 with each remedy."""
    body = [[remedy.words, text(trials, remedy.words)] for remedy in REMEDIES]
    return grid(["remedy", f"accuracy on `{RERAM}` (%)"], body)


def paper(trials: Trials) -> Paper:
    """All rows and tables."""
    chips = len(chips_of(trials, RERAM))
    before, after = (Measured.mean(chips_of(trials, arm), "").text for arm in (RERAM, TUNED))
    minutes = trials.groups(TUNED, "training")[0][0] / 60
    return Paper(
        NAME,
        "CrossSim's tutorial: ResNets for CIFAR-10 on two devices",
        CITATION,
        f"python -m benchmarks.papers.{NAME} --weights DIR --data-dir DIR --chips {chips}",
        tuple(rows(trials)),
        (
            f"The tutorial evaluates ResNet-14 on the first {IMAGES:,} test images. Each "
            "published number comes from one chip; its standard error is the standard deviation "
            "over cimsim's chips.",
            "The following results have no published counterpart. Noise-aware training increases "
            f"the accuracy of ResNet-14 on `{RERAM}` from {before} % to {after} %, on the same "
            f"{IMAGES:,} images and {chips} chips, which were not used in training; without a "
            f"chip, the accuracy is {DIGITAL:.2f} % before and "
            f"{trials.groups(TUNED, 'digital')[0][0]:.2f} % after training. The training takes "
            f"{STEPS} steps of {BATCH} training images ({STEPS * BATCH:,} images, {minutes:.0f} "
            "minutes on one core), mirrored at random, with the defaults of `cimsim.convert` and "
            f"`cimsim.NoiseAware`, AdamW with a learning rate that falls from {LR:g} to 0 along a "
            "cosine, and seed 0.",
            f"The next table shows other remedies for ResNet-14 on the first {FEW} test images "
            f"({trials.groups('digital', 'few images')[0][0]:.1f} % digital): mean over {chips} "
            f"chips ± standard error (worst chip). Parts of an adaptation use {ADAPTATION:,} "
            "training images on each chip.",
            remedy_table(trials),
            f"Accuracy in % of networks of all depths on these images and {DEPTH_CHIPS} chips:",
            depth_table(trials),
        ),
        trials.seconds,
    )


def main() -> None:
    """Measure, compare, write."""
    given = arguments(__doc__, weights=True, chips=5, runs=Path("runs/crosssim_resnets"))
    trials = Trials(RESULTS / f"{NAME}.csv")
    measure(Bench(given.weights, given.data_dir, given.runs, trials), given.chips, trials)
    paper(trials).write()


if __name__ == "__main__":
    main()
