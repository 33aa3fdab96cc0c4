"""Backward rules in three regimes, compared with both usual kinds of noise-aware training.

    python -m benchmarks.rules --data-dir DIR [--task cifar10-resnet20] [--profile readout]
        [--seeds 0,1,2] [--chips 10] [--runs runs/rules]

The comparison trains a CNN with 493,642 parameters on Fashion-MNIST, and ResNet-20 on CIFAR-10, for
three chips: `weight-noise` has 12 % noise on every weight; `readout` has a 4-bit ADC whose range is
the root mean square of its input, and 5 % weight noise; `mismatch` multiplies every weight by a
random factor. Every rule simulates the whole chip in the forward pass. The baselines choose between
three levels of Gaussian weight noise, on held-out data and separately for each noise of the chip:
`weight noise` has no converters, and `fake-quantized` simulates the converters of the chip and
ignores their rounding in the gradient. The ranges of the inputs are calibrated, not learned. Batch
normalization is measured on the chip for every method.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.fair import Comparison, Settings, Task
from benchmarks.fair_page import main

CHIPS = Path(__file__).parent / "devices"
SIGMAS = (0.035, 0.06, 0.12)


def tuned(method: str) -> list[Settings]:
    """Every size of the noise."""
    return [{"method": method, "gaussian_sigma": sigma} for sigma in SIGMAS]


COMPARISON = Comparison(
    name="rules",
    title="Backward rules in three regimes",
    intro=" ".join((__doc__ or "").split("\n\n")[2].split()),
    tasks={
        "fashion-mnist-cnn": Task(
            {
                "data": "fashion-mnist",
                "model": "cnn",
                "limit": 20_000,
                "epochs": 4,
                "noise": 1.0,
                "learn_ranges": (),
            },
            samples=2000,
        ),
        "cifar10-resnet20": Task(
            {
                "data": "cifar10",
                "model": "resnet20",
                "limit": 10_000,
                "epochs": 6,
                "augment": ("flip", "shift"),
                "noise": 1.0,
                "learn_ranges": (),
            },
            samples=1000,
            norms=True,
        ),
    },
    profiles={
        "weight-noise": {"profile": str(CHIPS / "weight-noise.yaml")},
        "readout": {"profile": str(CHIPS / "readout.yaml")},
        "mismatch": {"clip_sigma": 0.0},
    },
    methods={
        "rule F": [{"rule": "F"}],
        "digital": [{"method": "digital"}],
        "weight noise, tuned": tuned("standard-nat"),
        "fake-quantized, tuned": tuned("fake-quantized"),
        **{f"rule {letter}": [{"rule": letter}] for letter in "ABCE"},
    },
    ours="rule F",
    drawn=("digital", "weight noise, tuned", "fake-quantized, tuned", "rule F"),
    noise="noise=0,0.5,1,1.5",
    ages={"just programmed": 0.0},
)


if __name__ == "__main__":
    main(COMPARISON, (__doc__ or "").splitlines()[0])
