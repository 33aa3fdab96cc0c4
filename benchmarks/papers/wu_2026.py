"""Wu et al. (2026): memory window, noise and drift that a ResNet-32 tolerates.

    python -m benchmarks.papers.wu_2026 --weights DIR --data-dir DIR [--chips 5] [--images 500]
        [--runs runs/joshi_2020]

The ResNet-32 for CIFAR-10 that ``benchmarks.papers.joshi_2020`` trained with noise (this command
trains it if it is not in the folder of runs), on chips of ``pcm-ibm-2020`` with a digital scale for
each column, 8-bit converters and a global factor that compensates drift. Accuracies are normalized,
A* = 1 - (error - digital error) / (error by chance - digital error). Three numbers of the cells are
varied as in the paper: the largest conductance (the memory window), a factor on the noise of
programming and of reads, and a factor on the exponents of drift. Finished results are kept, so the
same command resumes.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from torch import nn

import cimsim
from benchmarks.papers.cifar_chips import (
    Images,
    Reference,
    against,
    grid,
    percent,
    read_images,
)
from benchmarks.papers.command import arguments
from benchmarks.papers.joshi_2020 import BUDGETS, DEPTH, LONG, one, tuned
from benchmarks.papers.record import RESULTS, UNBOUNDED, Measured, Paper, Published, Row
from benchmarks.papers.trials import Trials
from benchmarks.published_resnets import with_norms
from cimsim.profile import Profile

NAME = "wu_2026"
CITATION = (
    "Z. Wu et al., *Methods for setting device specifications for analog in-memory computing "
    "inference*, Advanced Intelligent Systems 8, e202501355 (2026), doi:10.1002/aisy.202501355."
)
HOUR_S, YEAR_S = 3600.0, 3.1536e7
CHANCE = 10.0
"""Accuracy of random answers in %."""
ISO = 99.0
"""Normalized accuracy in % that a device must reach."""
PROFILE = "pcm-ibm-2020"
WINDOWS_uS, NOISES, DRIFTS = (10.0, 18.0, 25.0), (0.3, 0.5, 1.0), (0.1, 0.4, 1.0)
MAP_IMAGES, MAP_CHIPS, CALIBRATION = 250, 2, 250


@dataclass(frozen=True)
class Cells:
    """Memory window in uS, factors on noise and on drift, and the age in s."""

    window_uS: float
    noise: float
    drift: float
    age_s: float = YEAR_S

    @property
    def name(self) -> str:
        """As in the file of trials."""
        age = "1 h" if self.age_s == HOUR_S else "1 year"
        return f"{self.window_uS:g} uS, noise {self.noise:g}, drift {self.drift:g}, {age}"


STANDARD = (Cells(25.0, 1.0, 1.0, HOUR_S), Cells(25.0, 1.0, 1.0))
TOLERATED = (
    Cells(25.0, 1.0, 0.1),
    Cells(18.0, 0.8, 0.1),
    Cells(18.0, 0.5, 0.4),
    Cells(25.0, 0.3, 1.0),
)
"""Corners of their table at one year, which tolerate this noise."""
NOT_TOLERATED = Cells(25.0, 0.5, 1.0)
WHERE = "p. 8, Fig. 7c"


def profile(window_uS: float, noise: float, drift: float = 1.0) -> Profile:
    """Cells with a smaller window: noise in uS stays, and depends on the share of the window, as in
    equation 2 of the paper."""
    return cimsim.load_profile(
        PROFILE,
        {
            "cell.g_max_uS": window_uS,
            "cell.programming_noise.0.g_ref_uS": window_uS,
            "cell.programming_noise.0.strength": noise,
            "cell.drift.0.g_ref_uS": window_uS,
            "cell.drift.0.strength": drift,
            "cell.read_noise.0.g_ref_uS": window_uS,
            "cell.read_noise.0.strength": noise,
        },
    )


def on_chip(model: nn.Module, cells: Cells, chip: int, train: Images) -> nn.Module:
    """``model`` on a chip with these cells."""
    of_cells = profile(cells.window_uS, cells.noise, cells.drift)
    analog = cimsim.convert(copy.deepcopy(model), of_cells).eval()
    cimsim.calibrate(analog, train.first(CALIBRATION).batches())
    return cimsim.age(cimsim.program(analog, chip), cells.age_s)


def measure(
    weights: Path, data_dir: Path, images: int, chips: int, runs: Path, trials: Trials
) -> None:
    """Evaluate what is not known yet."""
    train, test = read_images(data_dir)
    reference = Reference.of(with_norms(DEPTH, weights), test.first(images))
    model = tuned(weights, train, BUDGETS[-1], runs, trials)
    trials.measure("digital", "accuracy", 0, -1, lambda: percent(reference.right))
    trials.measure("digital", "images", 0, -1, lambda: float(images))
    few = test.first(MAP_IMAGES)
    trials.measure("digital", "few images", 0, -1, lambda: percent(reference.right[:MAP_IMAGES]))
    for cells in (*STANDARD, *TOLERATED, NOT_TOLERATED):
        for chip in range(chips):
            reference.score(trials, cells.name, chip, partial(on_chip, model, cells, chip, train))
    for window in WINDOWS_uS:
        for noise in NOISES:
            measure_map(model, train, few, window, noise, trials)


def measure_map(
    model: nn.Module, train: Images, test: Images, window: float, noise: float, trials: Trials
) -> None:
    """Accuracies over drift after a year, by :func:`cimsim.heat_map`."""
    if trials.has(Cells(window, noise, DRIFTS[-1]).name, "map", 0):
        return
    start = time.perf_counter()
    found = cimsim.heat_map(
        cimsim.convert(copy.deepcopy(model), PROFILE),
        list(zip(test.x.split(250), test.y.split(250), strict=True)),
        x={"time": (YEAR_S,)},
        y={"cell.drift.0.strength": DRIFTS},
        profile=profile(window, noise),
        chips=MAP_CHIPS,
        calibration=train.first(CALIBRATION).batches(),
    )
    seconds = (time.perf_counter() - start) / len(DRIFTS)
    for drift, (mean,) in zip(DRIFTS, found.means, strict=True):
        trials.add(Cells(window, noise, drift).name, "map", 0, -1, 100 * mean, seconds)


def normalized(trials: Trials, cells: Cells) -> Measured:
    """A* in %."""
    digital, images = one(trials, "digital", "accuracy"), int(one(trials, "digital", "images"))
    apart = against(trials, cells.name, digital, images)
    scale = 100 / (digital - CHANCE)
    return Measured(100 + scale * apart.value, scale * apart.standard_error, apart.count, apart.of)


def rows(trials: Trials) -> Iterator[Row]:
    """Published numbers and ours."""
    for cells, value in zip(STANDARD, (99.0, 97.0), strict=True):
        age = "1 hour" if cells.age_s == HOUR_S else "1 year"
        yield Row(
            age,
            f"A* after {age}",
            "%",
            Published.printed(value, 0.1, "p. 7"),
            normalized(trials, cells),
        )
    for cells in TOLERATED:
        yield Row(
            cells.name,
            f"A* with {cells.window_uS:g} uS, noise scale {cells.noise:g}, drift scale "
            f"{cells.drift:g}, after 1 year",
            "%",
            Published(ISO, WHERE, high=UNBOUNDED),
            normalized(trials, cells),
        )
    yield Row(
        NOT_TOLERATED.name,
        f"A* with {NOT_TOLERATED.window_uS:g} uS, noise scale {NOT_TOLERATED.noise:g}, drift scale "
        f"{NOT_TOLERATED.drift:g}, after 1 year",
        "%",
        Published(0.0, WHERE, high=ISO),
        normalized(trials, NOT_TOLERATED),
    )


def whole_map(trials: Trials) -> str:
    """A* of every combination after a year, relative to the digital network on the same images."""
    digital = one(trials, "digital", "few images")

    def cell(window: float, noise: float, drift: float) -> str:
        accuracy = one(trials, Cells(window, noise, drift).name, "map")
        return f"{100 * (accuracy - CHANCE) / (digital - CHANCE):.1f}"

    head = ["window (uS)", *(f"noise {n:g}, drift {d:g}" for n in NOISES for d in DRIFTS)]
    body = [[f"{w:g}", *(cell(w, n, d) for n in NOISES for d in DRIFTS)] for w in WINDOWS_uS]
    return grid(head, body)


def paper(trials: Trials) -> Paper:
    """The rows from the trials."""
    images = int(one(trials, "digital", "images"))
    chips = normalized(trials, STANDARD[0]).count
    return Paper(
        NAME,
        "Wu 2026: window, noise and drift that a ResNet-32 tolerates",
        CITATION,
        f"python -m benchmarks.papers.{NAME} --weights DIR --data-dir DIR --images {images} "
        f"--chips {chips}",
        tuple(rows(trials)),
        (
            f"The network that [joshi_2020](joshi_2020.md) trained with noise for {LONG} runs on "
            f"the first {images:,} test images and {chips} chips of `{PROFILE}`. Its accuracy in "
            f"FP32 is {one(trials, 'digital', 'accuracy'):.2f} % on these images; the network of "
            "the paper has 94.1 % on all test images. A* is the accuracy above chance, relative "
            "to the digital network. Standard errors include the variation over chips and "
            "images. With so few images, differences of less than 3 points of A* are not "
            "significant.",
            "The table of the paper lists the largest noise scale at which A* is at least 99 %; "
            "the rows below check that A* reaches this value at the noise of the table. The "
            "sentence of the paper about a window of 18 uS at a drift scale of 0.8 and a noise "
            "scale of 1 (p. 6) refers to its LSTM; its ResNet-32 needs more than 24 uS and a "
            "noise scale below 0.3 at drift scales of 0.8 to 1.",
            f"A* in % after 1 year, computed by `cimsim.heat_map` on {MAP_CHIPS} chips and the "
            f"first {MAP_IMAGES} test images:",
            whole_map(trials),
        ),
        trials.seconds,
    )


def main() -> None:
    """Measure, compare, write."""
    given = arguments(__doc__, weights=True, images=500, chips=5, runs=Path("runs/joshi_2020"))
    trials = Trials(RESULTS / f"{NAME}.csv")
    measure(given.weights, given.data_dir, given.images, given.chips, given.runs, trials)
    paper(trials).write()


if __name__ == "__main__":
    main()
