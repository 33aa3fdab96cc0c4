"""The default of ``cimsim train``, compared with every other way to train, on many chips.

    python -m benchmarks.default --data-dir DIR [--task digits-mlp ...] [--profile pcm-ibm-2020 ...]
        [--method default ...] [--seeds 0,1,2] [--chips 10] [--runs runs/default]
    CIMSIM_RESNETS=WEIGHTS python -m benchmarks.default --data-dir DIR --task cifar10-resnet20

The comparison trains five tasks, reduced so that two CPU cores can train all of them: two of them
for four profiles, ResNet-20 for `pcm-ibm-2020` and the narrow readout, and the others for
`pcm-ibm-2020`. A tenth of the training data is held out. The settings of the tuned methods are
chosen on this held-out data, separately for each noise and age; the tables show results on test
data and on other chips. Standard errors are computed over training seeds, and methods are compared
seed by seed. Finished results are kept, so the same command resumes; the page shows all finished
results. The profile *narrow readout* is `generic-gaussian`
with a 4-bit ADC whose range is the root mean square of the signal. `noise-aware, tuned` chooses
between three levels of noise and clipping; `calibrated ranges` is the default without learned
ranges of the inputs; `rule A` to `rule E` are the default with other backward rules. `standard,
published` has Gaussian weight noise of 3.8 % of the largest weight (Joshi et al. 2020); the other
baselines choose between three levels of Gaussian noise and clipping, and `fake-quantized` also
simulates the converters, ignores their rounding in the gradient, and learns the ranges of the
inputs. `noise auto` is the best of the candidates of `--noise auto`, all of them trained in full.
"""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.fair import Comparison, Settings, Task
from benchmarks.fair_page import main

WEIGHTS = "CIMSIM_RESNETS"
"""Environment variable: folder of the ResNets' published weights."""

TASKS = {
    "digits-mlp": Task({"data": "digits", "model": "mlp", "epochs": 30, "lr": 0.003}),
    "fashion-mnist-cnn": Task(
        {"data": "fashion-mnist", "model": "cnn", "limit": 6000, "epochs": 6}, samples=1000
    ),
    "spoken-digits-lstm": Task({"data": "fsdd", "model": "lstm", "epochs": 15, "lr": 0.003}),
    "shakespeare-gpt": Task(
        {
            "data": "tinyshakespeare",
            "model": "gpt",
            "limit": 8000,
            "epochs": 3,
            "batch_size": 32,
            "lr": 0.002,
        },
        samples=100,
        falls=True,
    ),
    "cifar10-resnet20": Task(
        {
            "data": "cifar10",
            "model": "benchmarks.default:published_resnet20",
            "limit": 6000,
            "epochs": 3,
            "lr": 0.0005,
            "augment": ("flip",),
        },
        samples=1000,
        norms=True,
    ),
}
PROFILES: dict[str, Settings] = {
    "pcm-ibm-2020": {},
    "reram-milo-2021": {},
    "reram-wan-2022": {},
    "narrow readout": {
        "profile": "generic-gaussian",
        "overrides": ("adc.bits=4", "adc.range={kind: k-sigma, k: 1}"),
    },
}
# Relative noise of the weights, and clipping in multiples of their RMS.
GRID = ((0.038, 2.5), (0.076, 2.0), (0.114, 1.5))
STANDARD, QUANTIZED = (
    [{"method": name, "gaussian_sigma": sigma, "clip_sigma": clip} for sigma, clip in GRID]
    for name in ("standard-nat", "fake-quantized")
)
AWARE: list[Settings] = [
    {},
    {"noise": 2.0, "clip_sigma": 2.0},
    {"noise": 4.0, "clip_sigma": 1.5},
]
METHODS: dict[str, list[Settings]] = {
    "default": [{}],
    "noise-aware, tuned": AWARE,
    "calibrated ranges": [{"learn_ranges": ()}],
    "digital": [{"method": "digital"}],
    "standard, published": STANDARD[:1],
    "standard, tuned": STANDARD,
    "fake-quantized, tuned": QUANTIZED,
    **{f"rule {letter}": [{"rule": letter}] for letter in "ABCE"},
    "noise auto": [*AWARE, {"method": "digital"}, *QUANTIZED],  # its candidates, trained in full
}


COMPARISON = Comparison(
    name="default",
    title="The default of `cimsim train`, compared with every other way to train",
    intro=" ".join((__doc__ or "").split("\n\n")[2].split()),
    tasks=TASKS,
    profiles=PROFILES,
    methods=METHODS,
    ours="default",
    variants=("noise auto", "noise-aware, tuned", "calibrated ranges"),
    drawn=("digital", "standard, tuned", "fake-quantized, tuned", "default", "noise auto"),
    noise="noise=0,1,2,4",
    ages={"1 s": 1.0, "1 year": 365 * 86400.0},
)


def published_resnet20(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """ResNet-20 with published weights, for images standardized as in cimsim."""
    from benchmarks import cifar_resnets

    if WEIGHTS not in os.environ:
        raise SystemExit(f"set {WEIGHTS} to the folder of the published weights")
    file = Path(os.environ[WEIGHTS]) / "resnet20.safetensors"
    return nn.Sequential(Restandardize(), cifar_resnets.load(file, 20))


class Restandardize(nn.Module):
    """Change the standardization of images to the constants of the published networks."""

    gain: Tensor
    offset: Tensor

    def __init__(self) -> None:
        super().__init__()
        from benchmarks.cifar_resnets import MEAN, STD

        # Mean and standard deviation of CIFAR-10's training images, of each channel.
        mean, std = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
        gain = [s / other for s, other in zip(std, STD, strict=True)]
        offset = [(m - o) / s for m, o, s in zip(mean, MEAN, STD, strict=True)]
        self.register_buffer("gain", torch.tensor(gain).view(3, 1, 1))
        self.register_buffer("offset", torch.tensor(offset).view(3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Shift and scale."""
        return x * self.gain + self.offset


if __name__ == "__main__":
    main(COMPARISON, (__doc__ or "").splitlines()[0])
