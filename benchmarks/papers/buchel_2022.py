"""Mismatch of every weight (Büchel 2022): means and worst chips of Table 1.

    python -m benchmarks.papers.buchel_2022 --data-dir DIR [--seeds 0] [--authors-seeds 0]
        [--runs runs/buchel]

Fashion-MNIST, the 493,642-parameter CNN, every weight multiplied by 1 + zeta xi once for each chip.
The published numbers are means and the worst values over 100 chips of each of two trained networks.
Standard training follows the authors' code (:mod:`benchmarks.papers.buchel_2022_training`) and
keeps the network with the best validation accuracy. After some of the epochs, it evaluates some
chips on some test images; a second training does so with the ten times higher learning rate of an
earlier version of the code. The shorter arm `standard` of :mod:`benchmarks.mismatch` is trained,
too. The accuracies of `robust` were measured by :mod:`benchmarks.mismatch`. Finished results are
kept, so the same command resumes.
"""

from __future__ import annotations

import copy
import csv
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import nn

import cimsim
from benchmarks import mismatch
from benchmarks.lines import Lines
from benchmarks.papers.buchel_2022_training import Schedule, Training, split
from benchmarks.papers.cifar_chips import grid
from benchmarks.papers.command import arguments
from benchmarks.papers.mnist import accuracy, digits
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
AUTHORS, FASTER = "standard, as in the authors' code", "standard, ten times the rates"
SCHEDULES = {
    AUTHORS: Schedule((35, 5), (1e-4, 1e-5)),
    FASTER: Schedule((32, 0), (1e-3, 1e-4)),
}
"""The schedule of the last version of the authors' code, and most of an earlier one."""
TEST_BATCH = 500
MEASURED_EPOCHS = (1, 2, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40)
STEPS_PER_EPOCH = 1440
AUTHORS_CHIPS = {ZETA: 100, 0.1: 5, 0.2: 5, 0.3: 5, 0.7: 5}
"""Chips by mismatch."""
FEW_CHIPS, FEW_IMAGES, IMAGES = 5, 2000, 10_000
ROBUST = tuple(arm.name for arm in mismatch.ARMS if arm.name.startswith(mismatch.OURS))
PUBLISHED_WORST, BEST_PUBLISHED_WORST = 42.46, 86.84
PUBLISHED = dict(
    zip((0.0, 0.1, 0.2, 0.3, 0.5, 0.7), mismatch.PUBLISHED["published: standard"], strict=True)
)
"""Mean accuracy in % by mismatch."""
SHORT = (
    "The arm `standard` of this project differs from the authors' code not only in length: it "
    "trains for 8 epochs of 60,000 unchanged images, with a learning rate that falls along a "
    "cosine, without normalization and padding, with digital biases, and keeps the last network."
)
SETTINGS = (
    "Standard training follows the authors' code. The data are all images and two changed copies "
    "of each, rotated by up to 10 degrees or mirrored, which are drawn once. A random fifth of "
    "these 180,000 images is used for validation after every 1000 steps, which chooses the "
    f"network. Adam trains for {SCHEDULES[AUTHORS].text}, on 144,000 images in batches of 100. "
    "The images and the last hidden layer are normalized over the batch, and the first "
    "convolution is padded to 28 x 28. On chips, biases have mismatch, too. Differences from the "
    "authors' code: layers compute in bfloat16 in training, and images are stored in float16. "
    "The learning rates come from the latest available version of the repository (see above), "
    "whose experiment contains the methods and the two seeds of Table 1; an earlier version has "
    "rates of 0.001 and 0.0001."
)
OF_ONE = "chips of one training"
WHY_WORST = "see the row of the mean; 100 chips here, 200 in the paper"


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

    Its error is the spread of the worst of half of the chips, which is larger than the spread of
    the worst of all chips.
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


class Chips:
    """Chips of a network whose biases have mismatch, too.

    The profile changes nothing but the weights, so a digital network with the weights of the chip
    is evaluated, which is faster.
    """

    def __init__(self, model: nn.Module, zeta: float = ZETA) -> None:
        self.zeta = zeta
        changes = {"cell.programming_noise.0.sigma_of_g": zeta}
        self.analog = cimsim.convert(model, cimsim.load_profile("mismatch", changes)).eval()
        self.model: nn.Module = copy.deepcopy(model)
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.biases = {
            name: layer.bias.detach().clone()
            for name, layer in cimsim.analog_layers(self.analog).items()
        }

    @torch.no_grad()
    def program(self, chip: int) -> nn.Module:
        """Sample all weights and biases."""
        cimsim.program(self.analog, chip)
        for name, layer in cimsim.analog_layers(self.analog).items():
            draws = generator("buchel 2022", "bias", name, chip)
            xi = torch.randn(self.biases[name].shape, generator=draws)
            self.model.get_parameter(f"{name}.weight").copy_(layer.programmed_weight())
            self.model.get_parameter(f"{name}.bias").copy_(self.biases[name] * (1 + self.zeta * xi))
        return self.model


def of(zeta: float) -> str:
    """The name of the accuracy at a mismatch."""
    return "accuracy" if zeta == ZETA else f"accuracy at {zeta:g}"


def trained(arm: str, seed: int, data_dir: Path, runs: Path, trials: Trials) -> Training:
    """Train as in the authors' code; keep the accuracy of some chips after some epochs."""
    data, test = digits(data_dir, FASHION_MNIST)
    few, schedule = test.part(torch.arange(FEW_IMAGES)), SCHEDULES[arm]

    def on_chips(training: Training) -> None:
        if training.epoch not in MEASURED_EPOCHS:
            return
        chips, after = Chips(training.model), f"after {training.epoch} epochs"
        value = accuracy(training.model, few, TEST_BATCH)
        trials.add(arm, f"digital accuracy {after}", seed, -1, value, 0.0)
        for chip in range(FEW_CHIPS):
            value = accuracy(chips.program(chip), few, TEST_BATCH)
            trials.add(arm, f"accuracy {after}", seed, chip, value, 0.0)

    training = Training.begin(runs / f"authors-{schedule.rates[0]:g}-{seed}.pt", seed, schedule)
    if training.epoch < sum(schedule.epochs):
        training.run(*split(data, seed), on_chips)
    trials.add(arm, "training", seed, -1, training.seconds, training.seconds)
    return training


def measure_authors(seed: int, data_dir: Path, runs: Path, trials: Trials) -> None:
    """Keep the accuracy of the chips of the chosen network."""
    known = (trials.has(AUTHORS, of(zeta), seed, n - 1) for zeta, n in AUTHORS_CHIPS.items())
    if all(known):
        return
    training = trained(AUTHORS, seed, data_dir, runs, trials)
    trials.add(AUTHORS, "validation", seed, -1, training.best_validation, 0.0)
    trials.add(AUTHORS, "chosen epoch", seed, -1, training.best_step / STEPS_PER_EPOCH, 0.0)
    model, test = training.chosen(), digits(data_dir, FASHION_MNIST)[1]
    exact = partial(accuracy, model, test, TEST_BATCH)
    trials.measure(AUTHORS, "digital accuracy", seed, -1, exact)
    for zeta, count in AUTHORS_CHIPS.items():
        chips = Chips(model, zeta)
        for chip in range(count):
            trials.measure(
                AUTHORS,
                of(zeta),
                seed,
                chip,
                lambda: accuracy(chips.program(chip), test, TEST_BATCH),  # noqa: B023
            )


def why_mean(trials: Trials, zeta: float) -> str:
    """The reason of a difference."""
    several = len(trials.groups(AUTHORS, of(ZETA)))
    trainings = f"{several} training{'s' * (several > 1)} here, two in the paper"
    return (
        f"{trainings}, whose spread was not published; with ten times the rates or fewer epochs "
        "the mean is higher"
        if zeta
        else f"{trainings}, whose spread was not published"
    )


def over_trainings(groups: Sequence[Sequence[float]]) -> Measured:
    """The mean of all chips; trainings are counted if there are several."""
    if len(groups) == 1:
        return Measured.mean(groups[0], OF_ONE)
    return Measured.mean_of_means(groups, f"trainings of {len(groups[0])} chips")


def without_mismatch(trials: Trials) -> Row:
    """The networks without mismatch; the error comes from the number of test images."""
    (exact, *_) = trials.groups(AUTHORS, "digital accuracy")[0]
    published = PUBLISHED[0.0]
    errors = [100 * math.sqrt(x / 100 * (1 - x / 100) / IMAGES) for x in (exact, published)]
    basis = f"error of {IMAGES:,} test images"
    return Row(
        "standard, digital",
        "standard: without mismatch",
        "%",
        Published(published, WHERE, errors[1], basis),
        Measured(exact, errors[0], 0, f"one training; {basis}"),
        why_mean(trials, 0.0),
    )


def rows(trials: Trials) -> Iterator[Row]:
    """Published numbers and ours, with a reason for each difference."""
    for row in every_row(trials):
        yield replace(row, why="") if row.agrees else row


def every_row(trials: Trials) -> Iterator[Row]:
    """The rows, each with a reason."""
    yield without_mismatch(trials)
    for zeta, published in PUBLISHED.items():
        if not zeta:
            continue
        ours = over_trainings(trials.groups(AUTHORS, of(zeta)))
        yield Row(
            f"standard, mean at {zeta:g}",
            f"standard: mean over chips, mismatch {zeta:g}",
            "%",
            Published.over(published, ours.spread, PUBLISHED_CHIPS, WHERE, "chips, of cimsim"),
            ours,
            why_mean(trials, zeta),
        )
    ours = worst(trials.groups(AUTHORS, of(ZETA)))
    yield Row(
        "standard, worst",
        f"standard: worst chip, mismatch {ZETA:g}",
        "%",
        Published.one_draw(PUBLISHED_WORST, ours.standard_error, WHERE, "set of 200 chips"),
        ours,
        WHY_WORST,
    )


def percent(found: Measured) -> str:
    """The number in %, with the origin of its standard error."""
    return found.text.replace(" (", " % (", 1)


def worst_of_robust(trials: Trials) -> str:
    """A paragraph on the worst chips of our training and the best published ones."""
    found = [f"`{name}`: {percent(worst(trials.groups(name, 'accuracy')))}" for name in ROBUST]
    return (
        f"The best published accuracy of a worst chip is {BEST_PUBLISHED_WORST} %, after training "
        "with noise and attacked weights, which was not repeated here. In comparison, these are "
        f"the worst chips of cimsim: {'; '.join(found)}."
    )


def lengths(trials: Trials) -> str:
    """A table of the accuracy of standard training after different epochs, at both rates."""
    head = ["after epochs"]
    for schedule in SCHEDULES.values():
        rate = f"rate {schedule.rates[0]:g}"
        head += [f"{rate}: mean over chips (%)", f"{rate}: without mismatch (%)"]
    body = []
    for epoch in MEASURED_EPOCHS:
        cells = [str(epoch)]
        for arm in SCHEDULES:
            for groups in (
                trials.groups(arm, f"accuracy after {epoch} epochs"),
                trials.groups(arm, f"digital accuracy after {epoch} epochs"),
            ):
                cells.append(Measured.mean(groups[0], "").text if groups else "")
        body.append(cells)
    return grid(head, body)


def short_training(trials: Trials) -> str:
    """A paragraph on the shorter training of this project."""
    groups = trials.groups(STANDARD.name, "accuracy")
    mean = Measured.mean([value for group in groups for value in group], "chips of one training")
    return (
        f"{SHORT} Its mean accuracy at a mismatch of {ZETA:g} is {percent(mean)}, and the accuracy "
        f"of its worst chip is {percent(worst(groups))}."
    )


def chosen(trials: Trials) -> str:
    """A sentence on the network that was chosen."""
    epoch, best = (trials.groups(AUTHORS, name)[0][0] for name in ("chosen epoch", "validation"))
    return f"The validation accuracy is highest, {best:.2f} %, after {epoch:.1f} epochs."


def paper(seeds: Sequence[int], authors_seeds: Sequence[int], trials: Trials) -> Paper:
    """The rows from the trials."""
    expected = []
    for name in (AUTHORS, STANDARD.name, *ROBUST):
        for seed, group in enumerate(trials.groups(name, "accuracy")):
            values = [f"{minimum_of(group, n)[0]:.2f}" for n in (10, 25, 50, len(group))]
            expected.append([f"{name}, training {seed}", *values])
    return Paper(
        NAME,
        "Mismatch of every weight, Fashion-MNIST: means and worst chips",
        CITATION,
        f"python -m benchmarks.papers.{NAME} --data-dir DIR --seeds {','.join(map(str, seeds))} "
        f"--authors-seeds {','.join(map(str, authors_seeds))}",
        tuple(rows(trials)),
        (
            "The published minimum is taken over 100 chips for each of two networks, according "
            "to the text of the paper and to `Experiments/mismatch_experiment.py` in the "
            "authors' repository `jubueche/BPTT-Lipschitzness`, which computes the minimum over "
            "all chips of a method.",
            "The next table shows the expected accuracy of the worst of 10, 25, 50 and all 100 "
            "chips for each training of cimsim, in %:",
            grid(["training", "10 chips", "25 chips", "50 chips", "100 chips"], expected),
            worst_of_robust(trials),
            SETTINGS,
            chosen(trials),
            f"The next table shows the accuracy after different numbers of epochs, on {FEW_CHIPS} "
            f"chips with a mismatch of {ZETA:g} and {FEW_IMAGES:,} test images, and also with the "
            f"learning rate of an earlier version of the code (for {SCHEDULES[FASTER].epochs[0]} "
            "epochs). From the fourth epoch, the accuracy on chips tends to decrease with the "
            "number of epochs, and it is lower with the smaller learning rate; the accuracy "
            "without mismatch is similar:",
            lengths(trials),
            short_training(trials),
        ),
        trials.seconds,
    )


def main() -> None:
    """Measure, compare, write."""
    given = arguments(__doc__, runs=Path("runs/buchel"), seeds="0", authors_seeds="0")
    seeds, authors_seeds = (
        [int(seed) for seed in text.split(",")] for text in (given.seeds, given.authors_seeds)
    )
    trials = Trials(RESULTS / f"{NAME}.csv")
    read_robust(trials)
    for seed in seeds:
        train_and_evaluate(STANDARD, seed, CHIPS, given.data_dir, given.runs, trials)
    for seed in authors_seeds:
        measure_authors(seed, given.data_dir, given.runs, trials)
    if not trials.has(FASTER, "training", authors_seeds[0]):
        trained(FASTER, authors_seeds[0], given.data_dir, given.runs, trials)
    paper(seeds, authors_seeds, trials).write()


if __name__ == "__main__":
    main()
