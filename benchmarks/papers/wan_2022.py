"""NeuRRAM (Wan 2022): a ResNet-20 with 3-bit activations on CIFAR-10, with the published weights.

    python -m benchmarks.papers.wan_2022 --weights DIR --data-dir DIR [--images 10000]

The folder of the weights is a clone of ``weierwan/Neurram_48core``, which contains the networks
that the authors trained with Gaussian weight noise of 0 to 30 % of each layer's largest weight, and
a table of their accuracy with noise of 0 to 15 %. The benchmark runs the same networks on cells
with this noise, one digital scale for each layer, and exact converters; activations have 3 bits,
images have 4 bits. Then it runs the network of the chip on the profile ``reram-wan-2022``. Finished
results are kept, so the same command resumes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

import cimsim
from benchmarks.papers.command import arguments
from benchmarks.papers.record import RESULTS, Measured, Paper, Published, Row
from benchmarks.papers.tensor_bundle import read_bundle
from benchmarks.papers.trials import Trials
from cimsim.profile import Profile
from cimsim.seeds import generator
from cimsim.training.data.cifar10 import read_cifar10

NAME = "wan_2022"
CITATION = (
    "W. Wan et al., *A compute-in-memory chip based on resistive random-access memory*, Nature "
    "608, 504-512 (2022), doi:10.1038/s41586-022-04992-8, and its repository "
    "`weierwan/Neurram_48core`."
)
TABLE = "cifar10_resnet_accuracy.xlsx of the repository"
FIGURE = "Fig. 5a"
TEST_NOISE = (0.0, 0.05, 0.1, 0.15)
# Accuracy in % by noise in training (rows) and in the test (columns), each the mean of ten passes.
PUBLISHED = {
    0.00: (87.25, 69.28, 25.68, 12.21),
    0.05: (88.13, 86.21, 79.04, 61.59),
    0.10: (88.19, 87.08, 83.83, 77.23),
    0.15: (87.58, 86.95, 85.20, 81.37),
    0.20: (87.56, 86.97, 85.61, 83.26),
    0.25: (86.48, 86.22, 85.48, 83.66),
    0.30: (85.95, 85.90, 84.98, 83.55),
}
SIMULATED_UNAWARE, SIMULATED_AWARE, ON_CHIP = 25.34, 85.99, 83.67
DEPLOYED = 0.20
"""Training noise of the network that was written to the chip."""
DEPLOYED_ARM = f"chip, trained with {100 * DEPLOYED:g} %"
PASSES, BATCH = 2, 32
CHIPS, AGE_S = 3, 1800.0
CALIBRATION = 256
IMAGE_BITS, IMAGE_MAX, ACTIVATION_BITS = 4, 0.95, 3
NORM_EPS = 1e-3
CHANCE = (
    "of 28 comparisons, 1.3 are expected to differ by more than two standard errors by chance; "
    "no other cause was found"
)
WHY = (
    "the authors simulate Gaussian noise of 10 % and an ADC of unknown precision; cimsim "
    "simulates the relaxation of each conductance and a 6-bit ADC"
)
WHY_CHIP = (
    "cimsim does not simulate voltage drops, couplings between wires, and cells that cannot be "
    "programmed; the authors' own simulation without these effects is 2.32 points above the chip"
)
NOTES = (
    "The networks, their weights and the table of accuracies were published by the authors; "
    "nothing was trained here. Weights and biases have noise; the benchmark adds it to the "
    "biases separately, because biases are digital in cimsim. Each batch of 32 images runs on "
    "another chip, as in the published table. Without noise, the results differ for a few of "
    "10,000 images, because sums of floating-point numbers round differently.",
)


class Floor(torch.autograd.Function):
    """Round down, with the gradient of the identity (straight-through)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """See the class."""
        return x.floor()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """See the class."""
        return gradient


class Quantize(nn.Module):
    """``round(x L / m) m / L`` of ``x`` between 0 and ``m``, with ``L = 2^bits - 1``."""

    def __init__(self, largest: Tensor, bits: int = ACTIVATION_BITS) -> None:
        super().__init__()
        self.largest, self.levels = float(largest), (1 << bits) - 1

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        scaled = x.clamp(0.0, self.largest) * (self.levels / self.largest) + 0.5
        codes: Tensor = Floor.apply(scaled)  # type: ignore[no-untyped-call]
        return codes * (self.largest / self.levels)


class SameConv(nn.Module):
    """A convolution padded as TensorFlow does: for a stride of 2, only at the end."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        kernel, stride = self.conv.kernel_size[0], self.conv.stride[0]
        total = max(0, kernel - stride)
        return self.conv(F.pad(x, (total // 2, total - total // 2) * 2))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Two convolutions and a shortcut, each with batch normalization where it has some."""

    def __init__(self, reader: Reader, projected: bool) -> None:
        super().__init__()
        stride = 2 if projected else 1
        first = reader.kernel_and_bias(stride)
        self.first = nn.Sequential(first, reader.norm(), reader.activation())
        # In the order of the checkpoint: the shortcut before the normalization.
        second = reader.kernel_and_bias(1)
        self.shortcut: nn.Module = reader.kernel_and_bias(2) if projected else nn.Identity()
        self.second = nn.Sequential(second, reader.norm())
        self.end: nn.Module = reader.activation()

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return self.end(self.shortcut(x) + self.second(self.first(x)))  # type: ignore[no-any-return]


class Reader:
    """The layers of a checkpoint, one after the other."""

    def __init__(self, folder: Path, stem: str = "variables") -> None:
        self.tensors, self.at = read_bundle(folder, stem), 0

    def next(self, *names: str) -> list[Tensor]:
        """The tensors of the next layer."""
        found = [self.tensors[f"layer_with_weights-{self.at}/{name}"] for name in names]
        self.at += 1
        return found

    def kernel_and_bias(self, stride: int) -> SameConv:
        """The next convolution."""
        kernel, bias = self.next("kernel", "bias")
        size, _, inputs, outputs = kernel.shape
        conv = nn.Conv2d(inputs, outputs, size, stride)
        conv.weight = nn.Parameter(kernel.permute(3, 2, 0, 1).contiguous())
        conv.bias = nn.Parameter(bias)
        return SameConv(conv)

    def norm(self) -> nn.BatchNorm2d:
        """The next batch normalization."""
        gamma, beta, mean, variance = self.next("gamma", "beta", "moving_mean", "moving_variance")
        norm = nn.BatchNorm2d(len(gamma), NORM_EPS)
        norm.weight, norm.bias = nn.Parameter(gamma), nn.Parameter(beta)
        norm.running_mean, norm.running_var = mean, variance
        return norm

    def activation(self) -> Quantize:
        """The next activation of 3 bits."""
        (largest,) = self.next("relux")
        return Quantize(largest)

    def dense(self) -> nn.Linear:
        """The last layer."""
        kernel, bias = self.next("kernel", "bias")
        linear = nn.Linear(*kernel.shape)
        linear.weight, linear.bias = nn.Parameter(kernel.t().contiguous()), nn.Parameter(bias)
        return linear


def network(folder: Path) -> nn.Sequential:
    """The ResNet-20 of one checkpoint."""
    reader = Reader(folder)
    first = [reader.kernel_and_bias(1), reader.norm(), reader.activation()]
    blocks = [Block(reader, projected=number in (3, 6)) for number in range(9)]
    # The table was measured with the last activation behind the mean over all places.
    pooled = [nn.ReLU(), nn.AvgPool2d(8), nn.Flatten(), blocks[-1].end]
    blocks[-1].end = nn.Identity()
    return nn.Sequential(*first, *blocks, *pooled, reader.dense()).eval()


def folded(model: nn.Sequential) -> nn.Sequential:
    """Fold batch normalization into the convolutions, as the authors do for the chip."""
    for parent in list(model.modules()):
        if isinstance(parent, nn.Sequential):
            for place in range(len(parent) - 1):
                conv, norm = parent[place], parent[place + 1]
                if isinstance(conv, SameConv) and isinstance(norm, nn.BatchNorm2d):
                    conv.conv = fuse_conv_bn_eval(conv.conv, norm)
                    parent[place + 1] = nn.Identity()
    return model


def checkpoint(weights: Path, noise: float) -> Path:
    """The folder of the network that was trained with ``noise``."""
    name = f"ResNet20v1_filter16_act3b_wnoise{noise:.2f}_input0.95"
    folder = weights / "cifar10_resnet" / "model_checkpoint" / name
    return folder / f"cifar10_{name}_model" / "variables"


def noisy_cells(noise: float) -> Profile:
    """Every weight has Gaussian noise of ``noise`` times the largest weight of its layer."""
    return cimsim.load_profile(
        "generic-gaussian",
        {
            "cell.programming_noise.0.sigma_of_g_max": noise,
            "array.weight_scale": "layer",
            "array.rows": 1024,
            "dac.bits": None,
            "adc.bits": None,
            "adc.noise_of_range": 0.0,
        },
    )


def quantized(pixels: NDArray[np.uint8]) -> Tensor:
    """Images of 4 bits."""
    x = torch.from_numpy(pixels.copy()).float() / 255
    return Quantize(torch.tensor(IMAGE_MAX), IMAGE_BITS)(x)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Images:
    """Test images of 4 bits, and their classes."""

    x: Tensor
    y: Tensor

    @classmethod
    def read(cls, folder: Path, count: int) -> Images:
        """The first ``count`` test images."""
        _, test = read_cifar10(folder, download=False)
        labels = torch.from_numpy(test.labels[:count].copy()).long()
        return cls(quantized(test.pixels[:count]), labels)


class Chips:
    """Chips of a converted network whose biases have the noise of the weights, too.

    The authors write biases to cells. Here they are digital, so their noise is added separately.
    """

    def __init__(self, model: nn.Module, noise: float) -> None:
        self.model, self.layers = model, cimsim.analog_layers(model)
        self.biases = {name: layer.bias.detach().clone() for name, layer in self.layers.items()}
        self.sigmas = {
            name: noise * layer.weight.detach().abs().max() for name, layer in self.layers.items()
        }

    @torch.no_grad()
    def program(self, chip: int) -> None:
        """Sample the noise of all weights and biases."""
        cimsim.program(self.model, chip)
        for name, layer in self.layers.items():
            draws = generator("wan 2022", "bias", name, chip)
            xi = torch.randn(self.biases[name].shape, generator=draws)
            layer.bias.copy_(self.biases[name] + self.sigmas[name] * xi)


@torch.no_grad()
def right(
    model: nn.Module, images: Images, chips: Chips | None = None, first_chip: int = 0
) -> Tensor:
    """The number of right answers in each batch; on another chip for each batch if there are
    ``chips``, as the table was measured."""
    counts = []
    batches = zip(images.x.split(BATCH), images.y.split(BATCH), strict=True)
    for number, (x, y) in enumerate(batches):
        if chips is not None:
            chips.program(first_chip + number)
        counts.append((model(x).argmax(1) == y).sum())
    return torch.stack(counts).double()


def percent(counts: Tensor, images: Images) -> float:
    """Accuracy in %."""
    return 100 * float(counts.sum()) / len(images.y)


def measure_table(weights: Path, images: Images, trials: Trials) -> None:
    """Every network with every noise."""
    for trained in PUBLISHED:
        arm = f"trained with {100 * trained:g} %"
        for noise in TEST_NOISE:
            name = f"{100 * noise:g} %"
            if trials.has(arm, f"error at {name}", 0):
                continue
            model, start = network(checkpoint(weights, trained)), time.perf_counter()
            if noise:
                model = cimsim.convert(model, noisy_cells(noise)).eval()
                chips = Chips(model, noise)
                first, second = (right(model, images, chips, 1000 * k) for k in range(PASSES))
                # Batches have chips of their own, so their differences show the noise alone.
                error = float((first - second).square().sum().sqrt()) / 2
                values = percent((first + second) / 2, images), 100 * error / len(images.y)
            else:
                values = flipped(model, images)
            seconds = time.perf_counter() - start
            trials.add(arm, f"accuracy at {name}", 0, -1, values[0], seconds)
            trials.add(arm, f"error at {name}", 0, -1, values[1], 0.0)


def flipped(model: nn.Module, images: Images) -> tuple[float, float]:
    """Accuracy in % without noise, and its difference in float64: values on an edge of the 3-bit
    activations depend on the order of a sum."""
    single = percent(right(model, images), images)
    precise = Images(images.x.double(), images.y)
    return single, abs(percent(right(model.double(), precise), images) - single)


def measure_chip(weights: Path, images: Images, trials: Trials) -> None:
    """The deployed network, and the one trained without noise, on the profile of the chip."""
    for trained in (0.0, DEPLOYED):
        arm = f"chip, trained with {100 * trained:g} %"
        if trials.has(arm, "accuracy", 0, CHIPS - 1):
            continue
        model = cimsim.convert(folded(network(checkpoint(weights, trained))), chip_profile()).eval()
        cimsim.calibrate(model, images.x[:CALIBRATION].split(BATCH))
        for chip in range(CHIPS):
            cimsim.age(cimsim.program(model, chip), AGE_S)
            trials.measure(arm, "accuracy", 0, chip, lambda: percent(right(model, images), images))  # noqa: B023


def chip_profile(changes: Mapping[str, object] | None = None) -> Profile:
    """Cells and converters of the chip, half an hour after programming; activations have 3 bits
    already."""
    return cimsim.load_profile(
        "reram-wan-2022",
        {
            "dac.bits": None,
            "array.weight_scale": "tile",
            "array.sensing": "voltage",
            **(changes or {}),
        },
    )


def rows(trials: Trials) -> Iterator[Row]:
    """Published numbers and ours."""
    for trained, published in PUBLISHED.items():
        arm = f"trained with {100 * trained:g} %"
        for noise, value in zip(TEST_NOISE, published, strict=True):
            name = f"{100 * noise:g} %"
            (accuracy,), (error,) = (
                trials.groups(arm, f"{what} at {name}")[0] for what in ("accuracy", "error")
            )
            of = f"{PASSES} passes" if noise else "difference to float64"
            theirs = error * (PASSES / 10) ** 0.5 if noise else max(error, 0.01)
            basis = "ten passes; spread taken from cimsim" if noise else "rounding of sums"
            row = Row(
                f"{trained:g} {noise:g}",
                f"trained with noise of {100 * trained:g} %, tested with {name}",
                "%",
                Published(value, TABLE, theirs, basis),
                Measured(accuracy, error, 0, of),
            )
            yield row if row.agrees else replace(row, why=CHANCE)
    for trained, value, words, why in (
        (0.0, SIMULATED_UNAWARE, "trained without noise, simulated with their non-idealities", WHY),
        (DEPLOYED, SIMULATED_AWARE, "trained with 20 %, simulated with their non-idealities", WHY),
        (DEPLOYED, ON_CHIP, "trained with 20 %, measured on the chip", WHY_CHIP),
    ):
        chips = trials.groups(f"chip, trained with {100 * trained:g} %", "accuracy")[0]
        ours = Measured.mean(chips, "chips of reram-wan-2022")
        yield Row(words, words, "%", Published.one_draw(value, ours.spread, FIGURE), ours, why)


def paper(trials: Trials) -> Paper:
    """The rows from the trials."""
    return Paper(
        NAME,
        "NeuRRAM: ResNet-20 on CIFAR-10 with the published weights",
        CITATION,
        "python -m benchmarks.papers.wan_2022 --weights DIR --data-dir DIR",
        tuple(rows(trials)),
        NOTES,
        trials.seconds,
    )


def main() -> None:
    """Measure, compare, write."""
    given = arguments(__doc__, weights=True, images=10_000)
    images = Images.read(given.data_dir, given.images)
    trials = Trials(RESULTS / f"{NAME}.csv")
    measure_table(given.weights, images, trials)
    measure_chip(given.weights, images, trials)
    paper(trials).write()


if __name__ == "__main__":
    main()
