"""AIHWKit's notebook of hardware-aware training: a LeNet5 on phase-change memory that drifts.

    python -m benchmarks.papers.aihwkit_lenet5 --data-dir DIR [--chips 10]
        [--runs runs/aihwkit_lenet5]

A network with 79,936 weights, 186 biases and tanh, on the 10,000 test images of MNIST. The notebook
trains it for 15 epochs by stochastic gradient descent without momentum (0.01, batches of 8), with a
7-bit DAC, noise of 0.02 on every weight and 0.06 on every output in the forward pass, and ideal
gradients. Then it programs the weights to pairs of cells once, and prints the accuracy at ten ages.
Output noise and weight noise are absolute: AIHWKit does not scale the weights of this
configuration, so a layer with small weights has more relative noise. This module divides both by
the largest weight of each layer, and repeats this every few steps during training.

The AIHWKit version of the notebook compensates the drift of linear layers only, an error that
version 0.7 corrects (pull request 412 of AIHWKit). The rows are measured in the same way; the page
also shows the accuracies with all layers compensated.

The configuration is imported by :func:`cimsim.exchange.from_aihwkit`. Finished results are kept, so
the same command resumes; the weights are kept after every epoch.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

import cimsim
from benchmarks.papers.cifar_chips import grid
from benchmarks.papers.command import arguments
from benchmarks.papers.mnist import Digits, digits
from benchmarks.papers.record import RESULTS, Measured, Paper, Published, Row
from benchmarks.papers.trials import Trials
from cimsim.exchange import from_aihwkit
from cimsim.files import make_folder, replacing
from cimsim.nn.scoring import evaluate
from cimsim.profile import Profile

NAME = "aihwkit_lenet5"
CITATION = (
    "aihwkit (IBM), notebook `notebooks/examples/analog_training_LeNet5_hwa.ipynb` as of version "
    "0.4.0 (December 2021). The notebook contained its output until May 2023; later versions do "
    "not."
)
EPOCHS, BATCH, RATE = 15, 32, 0.04
"""The notebook uses batches of 8 at a rate of 0.01, which is the same rate per image."""
STEPS_OF_A_SCALE = 250
"""Steps of training between two conversions of the noise by the largest weights."""
W_NOISE, OUT_NOISE, OUT_BOUND, DAC_STEPS = 0.02, 0.06, 12.0, 126
TRAINED = 98.95
PRINTED = {
    0.0: 98.81,
    1.0: 98.87,
    5.62: 98.97,
    31.6: 98.97,
    178.0: 98.91,
    1000.0: 98.70,
    5620.0: 98.57,
    31_600.0: 98.05,
    178_000.0: 98.18,
    1e6: 97.65,
}
"""Accuracy in % at the age in s."""
WHERE = "last cell"
IMAGES = 10_000
IN_TRAINING, EQUATIONS = "trained", "by the equations of aihwkit"
ALL, LINEAR, NO_LAYERS = "all layers", "linear layers", "no layers"
"""The layers whose drift is compensated: before version 0.7, AIHWKit did not compensate
convolutions."""
ON_CHIPS = {ALL: "on chips", LINEAR: "on chips, linear layers compensated"}
READOUTS = {
    ALL: "on chips, noisy readout",
    LINEAR: "on chips, noisy readout, linear layers compensated",
}
READOUT_CHIPS, READOUT_AGES_S = 5, (0.0, 1000.0, 1e6)


def network(seed: int) -> nn.Sequential:
    """The LeNet5 of the notebook; its last layer, a logarithm of a softmax, is in the loss."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 16, 5),
        nn.Tanh(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 5),
        nn.Tanh(),
        nn.MaxPool2d(2),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(512, 128),
        nn.Tanh(),
        nn.Linear(128, 10),
    )


def profile_of(largest: float, cells: bool, compensation: bool = True) -> Profile:
    """The notebook's configuration for a layer with this largest weight.

    Without ``cells``, weights are exact, as in training: only converters and short noise are left.
    ``compensation`` is the drift compensation of cimsim.
    """
    strength = 1.0 if cells else 0.0
    scales = {f"{name}_scale": strength for name in ("prog_noise", "read_noise", "drift")}
    by_factor = {"class": "GlobalDriftCompensation"} if cells and compensation else None
    return from_aihwkit(
        {
            "class": "InferenceRPUConfig",
            "forward": {
                "inp_res": 1 / DAC_STEPS,
                "noise_management": "CONSTANT",
                "nm_thres": 1.0,  # the largest pixel, and the limit of tanh
                "bound_management": "NONE",
                "out_res": -1.0,
                "out_bound": OUT_BOUND / largest,
                "out_noise": OUT_NOISE / largest,
                "w_noise_type": "ADDITIVE_CONSTANT",
                "w_noise": W_NOISE / largest,
            },
            "mapping": {"weight_scaling_omega": 1.0},
            "noise_model": {"class": "PCMLikeNoiseModel", "g_max": 25.0, **scales},
            "drift_compensation": by_factor,
        },
        "aihwkit-lenet5",
        "0.4.0",
    ).profile


def is_compensated(module: nn.Module, layers: str) -> bool:
    """Whether a layer is among those with compensation of drift."""
    return layers == ALL or (layers == LINEAR and isinstance(module, nn.Linear))


def analog(
    model: nn.Module,
    cells: bool,
    *,
    layers: str = ALL,
    inplace: bool = False,
    seed: int = 0,
) -> nn.Module:
    """The network with a profile for each layer, and aihwkit's gradient (rule C)."""
    profiles = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            largest = module.weight.abs().max().item()
            profiles[name] = {"profile": profile_of(largest, cells, is_compensated(module, layers))}
    first = next(iter(profiles.values()))["profile"]
    return cimsim.convert(model, first, rule="C", layers=profiles, seed=seed, inplace=inplace)


def train_epoch(model: nn.Module, data: Digits, seed: int, epoch: int) -> None:
    """Train a digital network for an epoch with noise, in place."""
    draws = torch.Generator().manual_seed(1000 * seed + epoch)
    optimizer = torch.optim.SGD(model.parameters(), RATE)
    for step, (x, y) in enumerate(data.batches(BATCH, draws)):
        if step % STEPS_OF_A_SCALE == 0:
            cimsim.to_digital(model, inplace=True)
            analog(model, False, inplace=True, seed=(1000 * seed + epoch) * 1000 + step)
            model.train()
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    cimsim.to_digital(model, inplace=True)


def accuracy(model: nn.Module, data: Digits) -> float:
    """Share of correct labels in %."""
    return 100 * evaluate(model, data.x, data.y).accuracy


def with_training_noise(model: nn.Module, data: Digits) -> float:
    """The accuracy of a digital network in %, with the noise that it is trained with."""
    return accuracy(analog(model, cells=False), data)


def trained(seed: int, data: Digits, test: Digits, runs: Path, trials: Trials) -> nn.Module:
    """The network after training, from the last epoch that is kept."""
    model = network(seed)
    for epoch in range(EPOCHS):
        file = runs / f"seed{seed}-epoch{epoch}.safetensors"
        if file.is_file():
            model.load_state_dict(load_file(file))
        else:
            start = time.perf_counter()
            train_epoch(model, data, seed, epoch)
            seconds = time.perf_counter() - start
            make_folder(file.parent)
            with replacing(file) as temporary:
                save_file(model.state_dict(), str(temporary))
            trials.add(IN_TRAINING, "training", seed, epoch, seconds, seconds)
        found = partial(with_training_noise, model, test)
        trials.measure(IN_TRAINING, "accuracy", seed, epoch, found)
    trials.measure(IN_TRAINING, "digital", seed, -1, lambda: accuracy(model, test))
    return model


def name_of(age_s: float) -> str:
    """The age as in the file of trials."""
    return f"{age_s:g} s"


def bias_of(layer: nn.Module) -> Tensor:
    """The bias of a layer in the shape of its outputs."""
    assert isinstance(layer, nn.Conv2d | nn.Linear)
    assert layer.bias is not None
    return layer.bias.view((-1,) + (1,) * (layer.weight.dim() - 2))


@torch.no_grad()
def readout(layer: nn.Module) -> Tensor:
    """The largest output of a layer, in magnitude, for one input of ones, without the bias."""
    assert isinstance(layer, nn.Conv2d | nn.Linear)
    out: Tensor = layer(torch.ones(1, *layer.weight.shape[1:])).flatten()
    return (out if layer.bias is None else out - layer.bias).abs().max()


def compensated(
    model: nn.Module, fresh: dict[str, Tensor], layers: str = ALL
) -> list[RemovableHandle]:
    """Multiply every output by the factor of AIHWKit, computed from one noisy readout each.

    The factor is wrong by the noise of both readouts. The handles remove it.
    """
    handles = []
    for name, layer in cimsim.analog_layers(model).items():
        if not is_compensated(layer, layers):
            continue
        factor = fresh[name] / readout(layer)

        def scaled(layer: nn.Module, _: object, out: Tensor, factor: Tensor = factor) -> Tensor:
            bias = bias_of(layer)
            return (out - bias) * factor + bias

        handles.append(layer.register_forward_hook(scaled))
    return handles


def measure_readouts(model: nn.Module, test: Digits, seed: int, chips: int, trials: Trials) -> None:
    """The same chips with aihwkit's compensation: of linear layers at all ages."""
    bare = analog(model, cells=True, layers=NO_LAYERS).eval()
    for chip in range(chips):
        cimsim.program(bare, seed=100 * seed + chip)
        fresh = {name: readout(layer) for name, layer in cimsim.analog_layers(bare).items()}
        for age_s in PRINTED:
            cimsim.age(bare, age_s)
            for layers, arm in READOUTS.items():
                some = age_s in READOUT_AGES_S and chip < READOUT_CHIPS
                if layers == ALL and not some:
                    continue
                handles = compensated(bare, fresh, layers)
                trials.measure(arm, name_of(age_s), seed, chip, partial(accuracy, bare, test))
                for handle in handles:
                    handle.remove()


def measure(data_dir: Path, seed: int, chips: int, runs: Path, trials: Trials) -> None:
    """Train, and evaluate what is not known yet: each chip is programmed once, then ages."""
    data, test = digits(data_dir)
    digital = trained(seed, data, test, runs, trials)
    for layers, arm in ON_CHIPS.items():
        model = analog(digital, cells=True, layers=layers)
        for chip in range(chips):
            if trials.has(arm, name_of(max(PRINTED)), seed, chip):
                continue
            cimsim.program(model, seed=100 * seed + chip)
            for age_s in PRINTED:
                cimsim.age(model, age_s)
                trials.measure(arm, name_of(age_s), seed, chip, partial(accuracy, model, test))
    measure_readouts(digital, test, seed, chips, trials)
    measure_equations(digital, test, seed, trials)


@torch.no_grad()
def by_equations(model: nn.Module, chip: int) -> Iterator[nn.Module]:
    """A digital network with drifted weights at each age of the readouts, for reference.

    Written out from the equations of aihwkit's noise model, without cimsim: pairs of cells with
    programming noise, drift and 1/f noise, and the factor from one noisy readout. Sums have the
    noise of the notebook; inputs are not rounded.
    """
    draws = torch.Generator().manual_seed(chip)
    layers = [each for each in model.modules() if isinstance(each, nn.Conv2d | nn.Linear)]
    cells = []
    for layer in layers:
        largest = layer.weight.abs().max()
        r = torch.stack([layer.weight, -layer.weight]).clamp_min(0) / largest
        sigma = 0.26348 + 1.9650 * r - 1.1731 * r.square()
        g = (25 * r + sigma * torch.randn(r.shape, generator=draws)).clamp_min(0)
        log_r = r.clamp_min(1e-7).log()
        mean = (-0.0155 * log_r + 0.0244).clamp(0.049, 0.1)
        spread = (-0.0125 * log_r - 0.0059).clamp(0.008, 0.045)
        nu = (mean + spread * torch.randn(r.shape, generator=draws)).abs()
        cells.append((g, nu, largest / 25))

    def reads(weight: Tensor) -> Tensor:
        out = weight.flatten(1).sum(1)
        noise = math.hypot(OUT_NOISE, W_NOISE * math.sqrt(weight[0].numel()))
        return (out + noise * torch.randn(out.shape, generator=draws)).abs().max()

    def noisy(layer: nn.Module, given: tuple[Tensor], out: Tensor, factor: Tensor) -> Tensor:
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        x, ones = given[0].square(), torch.ones_like(layer.weight[:1])
        conv = isinstance(layer, nn.Conv2d)
        norm = nn.functional.conv2d(x, ones) if conv else nn.functional.linear(x, ones)
        sigma = (OUT_NOISE**2 + W_NOISE**2 * norm).sqrt()
        bias = bias_of(layer)
        noise = torch.randn(out.shape, generator=draws)
        return (out - bias + sigma * noise) * factor + bias

    fresh = [reads((g[0] - g[1]) * unit) for g, _, unit in cells]
    for age_s in READOUT_AGES_S:
        handles = []
        for layer, (g, nu, unit), before in zip(layers, cells, fresh, strict=True):
            at = age_s + 20.0
            q = (0.0088 / (g / 25).pow(0.65).clamp_min(1e-3)).clamp_max(0.2)
            flicker = q * math.sqrt(math.log((at + 250e-9) / 500e-9))
            aged = g * (at / 20.0) ** -nu
            aged = (aged * (1 + flicker * torch.randn(g.shape, generator=draws))).clamp_min(0)
            layer.weight.copy_((aged[0] - aged[1]) * unit)
            hook = partial(noisy, factor=before / reads(layer.weight))
            handles.append(layer.register_forward_hook(hook))
        yield model
        for handle in handles:
            handle.remove()


def measure_equations(model: nn.Module, test: Digits, seed: int, trials: Trials) -> None:
    """The reference at the same ages."""
    for chip in range(READOUT_CHIPS):
        networks = by_equations(copy.deepcopy(model), chip)
        for age_s, network_ in zip(READOUT_AGES_S, networks, strict=True):
            found = partial(accuracy, network_, test)
            trials.measure(EQUATIONS, name_of(age_s), seed, chip, found)


def values_of(trials: Trials, arm: str, quantity: str) -> list[float]:
    """The values of all chips, or epochs."""
    return trials.groups(arm, quantity)[0]


def one_chip(percent: float, ours: Measured) -> Published:
    """One chip of one training, with the spread over cimsim's chips and over the images."""
    share = percent / 100
    of_images = 100 * math.sqrt(share * (1 - share) / IMAGES)
    spread = ours.spread
    basis = "one chip; its spread is taken from cimsim" if spread else "one training"
    return Published(
        percent, WHERE, math.hypot(spread, of_images), f"{basis}; and {IMAGES:,} test images"
    )


WHY = (
    "the weights of the notebook, from one training with four times as many steps and smaller "
    "batches, are not public; the printed accuracies vary by chance, and increase between 31600 "
    "s and 178000 s"
)


def rows(trials: Trials) -> Iterator[Row]:
    """The rows from the trials."""
    last = values_of(trials, IN_TRAINING, "accuracy")[EPOCHS - 1]
    ours = Measured(last, 0.0, 1, "training")
    words = f"after training, exact weights with noise, epoch {EPOCHS}"
    yield Row("trained", words, "%", one_chip(TRAINED, ours), ours)
    for age_s, percent in PRINTED.items():
        ours = Measured.mean(values_of(trials, READOUTS[LINEAR], name_of(age_s)), "chips")
        words = f"on chips, {name_of(age_s)} after programming"
        row = Row(name_of(age_s), words, "%", one_chip(percent, ours), ours)
        yield row if row.agrees else replace(row, why=WHY)


def compensation_table(trials: Trials) -> str:
    """The accuracy with and without a factor of the convolutions."""
    body = []
    for age_s, percent in PRINTED.items():
        found = [
            Measured.mean(values_of(trials, arm, name_of(age_s)), "").text
            for arm in ON_CHIPS.values()
        ]
        body.append([name_of(age_s), f"{percent:.2f}", *found])
    return grid(["accuracy (%)", "notebook", *(f"factor of {each}" for each in ON_CHIPS)], body)


def readout_table(trials: Trials) -> str:
    """Both factors on the same chips, and the reference."""
    body = []
    for age_s in READOUT_AGES_S:
        quantity = name_of(age_s)
        found = [
            Measured.mean(values_of(trials, arms[layers], quantity)[:READOUT_CHIPS], "").text
            for layers in ON_CHIPS
            for arms in (ON_CHIPS, READOUTS)
        ]
        by_hand = Measured.mean(values_of(trials, EQUATIONS, quantity), "").text
        body.append([quantity, f"{PRINTED[age_s]:.2f}", *found, by_hand])
    head = ["accuracy (%)", "notebook"]
    for layers in ON_CHIPS:
        head += [f"{layers}, factor of cimsim", f"{layers}, factor from one noisy readout"]
    return grid([*head, f"all layers, {EQUATIONS}"], body)


def paper(trials: Trials) -> Paper:
    """The rows from the trials."""
    epochs = values_of(trials, IN_TRAINING, "accuracy")
    minutes = sum(values_of(trials, IN_TRAINING, "training")) / 60
    digital = values_of(trials, IN_TRAINING, "digital")[0]
    chips = len(values_of(trials, ON_CHIPS[LINEAR], name_of(0.0)))
    return Paper(
        NAME,
        "aihwkit's notebook: LeNet5 on MNIST, trained with noise, on phase-change memory",
        CITATION,
        f"python -m benchmarks.papers.{NAME} --data-dir DIR --chips {chips}",
        tuple(rows(trials)),
        (
            "The configuration of the notebook is imported with `cimsim.exchange.from_aihwkit`: "
            "pairs of cells of up to 25 µS with programming noise, drift and 1/f noise, a 7-bit "
            "DAC, no rounding of the outputs, noise of 0.02 on every weight and 0.06 on every "
            "output, and digital biases. AIHWKit does not scale the weights of this "
            "configuration, so its noise is absolute; in cimsim, the profile of each layer "
            "contains the noise relative to the largest weight of the layer. The notebook uses "
            "no other noise in training, and no clipping.",
            "The AIHWKit version of the notebook compensates the drift of linear layers with a "
            "factor on their outputs, but not the drift of convolutions; AIHWKit 0.7 corrects "
            "this error (change log: pull request 412, August 2022). AIHWKit computes the factor "
            "from two noisy readouts, one before and one after the drift. The rows at the end "
            "are measured in the same way. If convolutions are compensated, too, chips lose less "
            "accuracy at late ages. In this table, cimsim computes the factors from the mean "
            "conductances:",
            compensation_table(trials),
            f"Training takes {EPOCHS} epochs of all 60,000 images by stochastic gradient descent "
            f"without momentum, as in the notebook, but with batches of {BATCH} and a learning "
            f"rate of {RATE:g} instead of batches of 8 and 0.01, which are a quarter of the "
            f"steps; it takes {minutes:.0f} minutes on one core. The accuracy on all test images "
            "with the noise of the training after every epoch is "
            + ", ".join(f"{value:.2f}" for value in epochs)
            + " %; the notebook prints 96.49, 97.69, 98.06, 98.27, 98.58, 98.65, 98.64, 98.67, "
            "98.72, 98.79, 98.81, 98.92, 99.01, 98.98, 98.95 %. The accuracy of the network "
            f"without any noise is {digital:.2f} %. All results come from one training with seed "
            "0; nothing was chosen on test images.",
            "The notebook programs one chip after one training, and evaluates the 10,000 test "
            "images once at each age. The standard error of its numbers combines the standard "
            "deviation over the chips of cimsim with the binomial error of the images. The "
            "variation between trainings was not published.",
            "There are two differences. AIHWKit scales each input vector (each patch of an image "
            "in a convolution) to the range of the DAC, so that the noise is smaller if the "
            "inputs are small; in cimsim, the range is -1 to 1 for all vectors. AIHWKit repeats "
            "a product with smaller inputs if an output exceeds 12; cimsim clips it.",
            "The readout of AIHWKit is the largest output for an input of ones, with the noise "
            f"of weights and outputs. The next table shows its effect on {READOUT_CHIPS} of the "
            "chips, with compensation of all layers and of linear layers only. The last column "
            "shows a separate implementation of AIHWKit's equations in PyTorch, without cimsim, "
            "on the same weights, with the noisy readout and without the DAC:",
            readout_table(trials),
        ),
        trials.seconds,
    )


def main() -> None:
    """Measure, compare, write."""
    given = arguments(__doc__, chips=10, runs=Path(f"runs/{NAME}"))
    trials = Trials(RESULTS / f"{NAME}.csv")
    measure(given.data_dir, 0, given.chips, given.runs, trials)
    paper(trials).write()


if __name__ == "__main__":
    main()
