"""Accuracy of analog accelerators: mapping of signed weights, slices, and resolution of the ADC.

    python -m benchmarks.papers.xiao_2022 --weights DIR --data-dir DIR

First, dot products on random weights: the gain of slices, and the errors that a unit column adds to
all columns. Then the published trends, with ResNet-14 on the first 500 test images of CIFAR-10
instead of ImageNet: pairs of cells (proportional mapping) and offset subtraction under errors of
the cells, independent of the conductance (``alpha_ind``, a standard deviation of ``alpha G_max /
2``) and proportional to it (``alpha_prop``, ``alpha G``), and under an ADC of few bits. Cells have
no off current, each layer has one scale, and batch norm is folded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

import cimsim
from benchmarks.papers.command import arguments
from benchmarks.papers.record import RESULTS, UNBOUNDED, Measured, Paper, Published, Row
from benchmarks.papers.trials import Trials
from benchmarks.published_resnets import MEAN, STD, accuracy, load
from cimsim.profile import Profile
from cimsim.training.data.cifar10 import read_cifar10

NAME = "xiao_2022"
CITATION = (
    "T. P. Xiao, B. Feinberg, C. H. Bennett et al., *On the accuracy of analog neural network "
    "inference accelerators*, IEEE Circuits and Systems Magazine 22(4) (2022) 26-48, "
    "arXiv:2109.01262."
)
DEPTH, IMAGES, CHIPS = 14, 500, 5
ROWS = 1152
WINDOW_uS, FAR_uS = 25.0, 100.0
SOURCE = "xiao2022: Fig. 8"
IDEAL = {
    "cell.g_min_uS": 0.0,
    "cell.g_max_uS": WINDOW_uS,
    "cell.programming_noise": [],
    "array.weight_scale": "layer",
    "array.rows": ROWS,
    "dac.bits": 8,
    "adc.bits": None,
}
PAIRS = {"array.mapping": "differential-pair", "cell.levels": 128}
PAIRS_SLICED = {"array.mapping": "differential-pair", "cell.levels": 4, "array.slices": 4}
OFFSET = {"array.mapping": "single-device", "cell.levels": 256}
OFFSET_SLICED = {"array.mapping": "single-device", "cell.levels": 4, "array.slices": 4}
UNIT_COLUMN = {"array.mapping": "offset-column", "cell.levels": 256}
Overrides = dict[str, object]

INDEPENDENT = (0.5, 1.0, 2.0, 4.0)
PROPORTIONAL_PAIRS = (5.0, 10.0, 20.0, 40.0)
PROPORTIONAL_OFFSET = (0.5, 1.0, 2.0, 4.0)
"""Errors in %."""
MEAN_CONDUCTANCE = "mean conductance"
ADC_BITS = (4, 5, 6, 7, 8, 9, 10)


def independent(alpha_percent: float) -> Overrides:
    """An error of ``alpha G_max / 2`` in every state.

    The published errors are not clipped at zero. Neither are the errors of cells from 100 to 125
    uS, whose window of 25 uS corresponds to the published one from 0 to G_max.
    """
    sigma = alpha_percent / 200 * WINDOW_uS / (FAR_uS + WINDOW_uS)
    noise = {"kind": "gaussian", "sigma_of_g_max": sigma, "source": SOURCE}
    return {
        "cell.g_max_uS": FAR_uS + WINDOW_uS,
        "cell.g_min_uS": FAR_uS,
        "cell.programming_noise": [noise],
    }


def proportional(alpha_percent: float) -> Overrides:
    """An error of ``alpha G``."""
    noise = {"kind": "relative", "sigma_of_g": alpha_percent / 100, "source": SOURCE}
    return {"cell.programming_noise": [noise]}


def profile(*parts: Overrides) -> Profile:
    """The cells and the mapping of these parts."""
    merged: Overrides = dict(IDEAL)
    for part in parts:
        merged.update(part)
    return cimsim.load_profile("ideal", merged)


def output_errors(
    *parts: Overrides, chips: int = 20, rows: int = 256, columns: int = 256
) -> Tensor:
    """Errors of one dot product of ones in every column of every chip, ``[chips, columns]``."""
    torch.manual_seed(0)
    layer = nn.Linear(rows, columns, bias=False)
    with torch.no_grad():
        layer.weight.uniform_(-1, 1)
    noisy = cimsim.convert(layer, profile({"dac.bits": None}, *parts)).eval()
    still = cimsim.convert(layer, profile({"dac.bits": None}, *parts, independent(0.0))).eval()
    x = torch.ones(1, rows)
    found = []
    with torch.no_grad():
        for chip in range(chips):
            cimsim.program(noisy, chip)
            found.append(noisy(x) - still(x))
    return torch.cat(found)


def spread_with_error(errors: Tensor) -> tuple[float, float]:
    """Standard deviation, and its standard error for independent normal errors."""
    spread = errors.std().item()
    return spread, spread / math.sqrt(2 * errors.numel())


def gain(sliced: Overrides, whole: Overrides) -> Measured:
    """Signal-to-noise ratio of slices over the ratio of one cell, for state-independent errors."""
    (first, first_error), (second, second_error) = (
        spread_with_error(output_errors(mapping, independent(1.0))) for mapping in (whole, sliced)
    )
    ratio = first / second
    error = ratio * math.hypot(first_error / first, second_error / second)
    return Measured(ratio, error, 20 * 256, "dot products")


def column_correlation(chips: int = 400, columns: int = 16) -> Measured:
    """Correlation of the errors of two columns that subtract one unit column."""
    errors = output_errors(UNIT_COLUMN, independent(1.0), chips=chips, columns=columns)
    centered = errors - errors.mean(0)
    pairs = [
        (centered[:, i] * centered[:, i + 1]).mean() / centered.square().mean()
        for i in range(0, columns, 2)
    ]
    return Measured.mean([pair.item() for pair in pairs], "pairs of columns")


def dot_product_rows() -> list[Row]:
    """The numbers that need no network."""
    one_bit: Overrides = {"array.mapping": "single-device", "cell.levels": 2, "array.slices": 8}
    bits = 8
    finite = (2**bits - 1) / math.sqrt((4**bits - 1) / 3)
    return [
        Row(
            "slicing gain",
            "signal-to-noise ratio of four 2-bit slices over one 8-bit cell, offset subtraction",
            "",
            Published.printed(1.286, 0.001, "Eq. 10"),
            gain(OFFSET_SLICED, OFFSET),
        ),
        Row(
            "slicing limit",
            "the same with eight 1-bit slices; the published limit of infinitely many is sqrt(3)",
            "",
            Published(finite, "section 5.2, its formula at 8 slices"),
            gain(one_bit, OFFSET),
        ),
        Row(
            "unit column",
            "correlation of the errors of two columns that subtract a unit column",
            "",
            Published(0.5, "section 5.2; half of the variance is common"),
            column_correlation(),
        ),
    ]


class Bench:
    """ResNet-14 and its images."""

    def __init__(self, weights: Path, data_dir: Path) -> None:
        train, test = read_cifar10(data_dir, download=False)
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
        self.x = (torch.from_numpy(test.pixels[:IMAGES].copy()).float() / 255 - mean) / std
        self.y = torch.from_numpy(test.labels[:IMAGES])
        images = torch.from_numpy(train.pixels[:200].copy()).float() / 255
        self.calibration = (images - mean) / std
        self.weights = weights

    def score(self, *parts: Overrides) -> Callable[[int], float]:
        """The accuracy in % on chips by number."""
        model = cimsim.convert(load(DEPTH, self.weights), profile(*parts)).eval()
        cimsim.calibrate(model, [self.calibration])

        def on(chip: int) -> float:
            cimsim.program(model, chip)
            return accuracy(model, self.x, self.y)

        return on


def mean_conductance(model: nn.Module) -> float:
    """Mean conductance of the cells of all pairs over the largest of each layer; half of the cells
    have none."""
    layers = [m.weight.abs() for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    total = sum((weight / weight.max()).sum().item() for weight in layers)
    return float(total / (2 * sum(weight.numel() for weight in layers)))


def measure(bench: Bench, trials: Trials) -> None:
    """All accuracies that are not known yet."""
    digital = load(DEPTH, bench.weights)
    trials.measure("pairs", MEAN_CONDUCTANCE, 0, -1, lambda: mean_conductance(digital))
    trials.measure("digital", "accuracy", 0, -1, lambda: accuracy(digital, bench.x, bench.y))
    noisy: list[tuple[str, Overrides, Callable[[float], Overrides], Sequence[float]]] = [
        ("pairs", PAIRS, independent, INDEPENDENT),
        ("pairs, 2 bits", PAIRS_SLICED, independent, INDEPENDENT),
        ("offset", OFFSET, independent, INDEPENDENT),
        ("offset, 2 bits", OFFSET_SLICED, independent, INDEPENDENT),
        ("unit column", UNIT_COLUMN, independent, INDEPENDENT),
        ("pairs", PAIRS, proportional, PROPORTIONAL_PAIRS),
        ("offset", OFFSET, proportional, PROPORTIONAL_OFFSET),
    ]
    for name, mapping, noise, levels in noisy:
        for alpha in levels:
            quantity = f"{noise.__name__} {alpha:g} %"
            if trials.has(name, quantity, 0, CHIPS - 1):
                continue
            score = bench.score(mapping, noise(alpha))
            for chip in range(CHIPS):
                trials.measure(name, quantity, 0, chip, lambda: score(chip))  # noqa: B023
    for name, mapping in (("pairs", PAIRS), ("offset", OFFSET)):
        for bits in ADC_BITS:
            quantity = f"ADC of {bits} bits"
            if not trials.has(name, quantity, 0):
                score = bench.score(mapping, {"adc.bits": bits})
                trials.measure(name, quantity, 0, -1, lambda: score(0))  # noqa: B023


def tolerated(levels: Sequence[float], accuracies: Sequence[float], least: float) -> float:
    """Error at which the accuracy falls to ``least``, between two levels by the logarithm."""
    previous_level, previous = levels[0], accuracies[0]
    for level, value in zip(levels, accuracies, strict=True):
        if value < least:
            if level == levels[0]:
                return level
            share = (previous - least) / (previous - value)
            return float(previous_level * (level / previous_level) ** share)
        previous_level, previous = level, value
    return levels[-1]


def needed_bits(curve: Sequence[float], least: float) -> int:
    """Fewest bits from which on the accuracy is at least ``least``."""
    enough = ADC_BITS[-1] + 1
    for bits, value in zip(reversed(ADC_BITS), reversed(curve), strict=True):
        if value < least:
            break
        enough = bits
    return enough


def network_rows(trials: Trials) -> list[Row]:
    """The published trends."""

    def mean(name: str, quantity: str) -> Measured:
        return Measured.mean(trials.groups(name, quantity)[0], "chips")

    def of_chip(name: str, quantity: str, chip: int) -> float:
        return trials.groups(name, quantity)[0][chip]

    digital = mean("digital", "accuracy").value
    least = digital - 5.0

    def tolerates(name: str, levels: Sequence[float], chip: int) -> float:
        values = [of_chip(name, f"proportional {level:g} %", chip) for level in levels]
        return tolerated(levels, values, least)

    ratio = Measured.mean(
        [
            tolerates("pairs", PROPORTIONAL_PAIRS, chip)
            / tolerates("offset", PROPORTIONAL_OFFSET, chip)
            for chip in range(CHIPS)
        ],
        "chips",
    )
    adc = {
        name: [mean(name, f"ADC of {bits} bits").value for bits in ADC_BITS]
        for name in ("pairs", "offset")
    }
    at = "independent 2 %"

    def loss_over_offset(name: str) -> Measured:
        ratios = [
            (digital - of_chip(name, at, chip)) / (digital - of_chip("offset", at, chip))
            for chip in range(CHIPS)
        ]
        return Measured.mean(ratios, "chips")

    spreads = {name: mean(name, at).spread for name in ("offset", "unit column")}
    of_pairs = mean("pairs", "proportional 5 %")
    bits = {name: needed_bits(values, digital - 1.0) for name, values in adc.items()}
    return [
        Row(
            "pairs, 5 %",
            "loss with pairs at alpha_prop = 5 %: nearly zero, read as less than one point",
            "points",
            Published(-1.0, "section 5.3", high=1.0),
            Measured(digital - of_pairs.value, of_pairs.standard_error, CHIPS, "chips"),
        ),
        Row(
            "resilience",
            "alpha_prop that costs 5 points: pairs over offset subtraction, more than 10",
            "",
            Published(10.0, "section 5.3", high=UNBOUNDED),
            ratio,
            "the smaller network has larger weights: the mean conductance of its cells is "
            f"{100 * trials.groups('pairs', MEAN_CONDUCTANCE)[0][0]:.1f} % of the largest one, "
            "compared with 1.95 % for ResNet-50 (p. 13), and errors proportional to the "
            "conductance are larger by the same factor",
        ),
        Row(
            "unit column, loss",
            f"loss with a unit column over the loss with a digital offset, {at}: larger",
            "",
            Published(1.0, "Fig. 9a", high=UNBOUNDED),
            loss_over_offset("unit column"),
        ),
        Row(
            "unit column, spread",
            "standard deviation of the accuracy over chips, unit column over digital offset: "
            "larger",
            "",
            Published(1.0, "section 5.2", high=UNBOUNDED),
            Measured(spreads["unit column"] / spreads["offset"]),
        ),
        Row(
            "slices, offset",
            f"loss with 2-bit slices over the loss with one cell, offset subtraction, {at}: "
            "smaller",
            "",
            Published(0.0, "Fig. 9a", high=1.0),
            loss_over_offset("offset, 2 bits"),
        ),
        Row(
            "pairs, independent",
            f"loss with pairs over the loss with offset subtraction, {at}: smaller",
            "",
            Published(0.0, "Fig. 9", high=1.0),
            loss_over_offset("pairs"),
        ),
        Row(
            "ADC, pairs",
            "bits of the ADC for an accuracy within one point of digital: pairs",
            "bits",
            Published(7.0, "Fig. 16 and section 6.3, ResNet-50 on ImageNet"),
            Measured(bits["pairs"]),
            "a smaller network on an easier task needs fewer bits; the published 7 bits are for "
            "ImageNet"
            if bits["pairs"] < 7
            else "",
        ),
        Row(
            "ADC, offset",
            "additional bits that offset subtraction needs: several, read as 2 or more",
            "bits",
            Published(2.0, "section 6.3", high=16.0),
            Measured(bits["offset"] - bits["pairs"]),
        ),
    ]


def curves(trials: Trials) -> str:
    """All curves in numbers, as a table."""

    def cell(name: str, quantity: str) -> str:
        groups = trials.groups(name, quantity)
        return f"{Measured.mean(groups[0], '').value:.1f}" if groups else ""

    lines = [
        "The next tables show the accuracy of ResNet-14 in % on the first 500 test images "
        "of CIFAR-10.",
        "",
    ]
    columns: list[tuple[str, list[str]]] = [
        ("alpha_ind", [f"independent {a:g} %" for a in INDEPENDENT]),
        ("alpha_prop", [f"proportional {a:g} %" for a in (*PROPORTIONAL_OFFSET, 5.0, 10, 20, 40)]),
        ("ADC", [f"ADC of {b} bits" for b in ADC_BITS]),
    ]
    names = ["pairs", "pairs, 2 bits", "offset", "offset, 2 bits", "unit column"]
    for title, quantities in columns:
        shown = [each.split(" ", 1)[1].removeprefix("of ") for each in quantities]
        lines += [f"| {title} | {' | '.join(shown)} |", "|---" * (len(shown) + 1) + "|"]
        for name in names:
            cells = [cell(name, each) for each in quantities]
            if any(cells):
                lines.append(f"| {name} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines).strip()


def paper(trials: Trials) -> Paper:
    """All rows."""
    return Paper(
        NAME,
        "Accuracy of analog accelerators: mapping, slices, resolution",
        CITATION,
        "python -m benchmarks.papers.xiao_2022 --weights DIR --data-dir DIR",
        (*dot_product_rows(), *network_rows(trials)),
        (
            "The published networks classify ImageNet, which is not used here. The trends are "
            "compared with ResNet-14 for CIFAR-10, whose digital accuracy on the images used "
            f"here is {trials.groups('digital', 'accuracy')[0][0]:.1f} %.",
            curves(trials),
        ),
        trials.seconds,
    )


def main() -> None:
    """Measure, compare, write."""
    given = arguments(__doc__, weights=True)
    trials = Trials(RESULTS / f"{NAME}.csv")
    measure(Bench(given.weights, given.data_dir), trials)
    paper(trials).write()


if __name__ == "__main__":
    main()
