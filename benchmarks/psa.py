"""Gradients of stochastic binary networks: path sample-analytic compared with straight-through.

    python -m benchmarks.psa --data-dir DIR [--epochs 5] [--seeds 2]

Measures the cosine to the exact gradient (by enumeration) of a 6-5-5-5-3 network over the number of
samples; then trains a 784-100-100-10 network of noisy comparators on MNIST with each estimator.
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.lines import Lines, versions
from cimsim.files import write_text
from cimsim.training.config import make_config
from cimsim.training.fit import fit
from cimsim.training.models.stochastic_binary import StochasticBinary, stochastic_binary

RESULTS = Path(__file__).parent / "results"
SIZES, SAMPLES, DRAWS = (6, 5, 5, 5, 3), (1, 10, 1000, 100_000), (400, 200, 20, 3)
MEASURED_ELSEWHERE = {
    "psa": (0.28, 0.71, 0.989, 0.994),
    "st": (0.23, 0.58, 0.927, 0.934),
    "hardtanh": (0.18, 0.37, 0.741, 0.795),
    "reinforce": (0.00, 0.16, 0.895, 0.999),
}


def hardtanh(input_shape: tuple[int, ...], classes: int) -> StochasticBinary:
    """The model of the library with the other surrogate."""
    model = stochastic_binary(input_shape, classes)
    for comparators in model.comparators:
        comparators.gradient = "hardtanh"  # type: ignore[assignment]
    return model


def main() -> None:
    """Measure, train, tabulate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=Path("runs/psa"))
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=2)
    given = parser.parse_args()
    lines = [
        "# Stochastic binary networks",
        "",
        f"    python -m benchmarks.psa --data-dir DIR --epochs {given.epochs} "
        f"--seeds {given.seeds}",
        "",
        "The table shows the cosine between the estimated and the exact gradient of all hidden "
        "weights of a 6-5-5-5-3 network, where the exact gradient comes from an enumeration of "
        "2^15 configurations: mean ± standard deviation over repetitions and three networks. "
        "Numbers in parentheses were measured with another implementation on another network.",
        "",
        "| estimator | " + " | ".join(f"{n:,} sample{'s' * (n > 1)}" for n in SAMPLES) + " |",
        "|---|" + "---|" * len(SAMPLES),
    ]
    for estimator, others in MEASURED_ELSEWHERE.items():
        cells = [
            f"{_cosine(estimator, n, draws)} ({other:g})"
            for n, draws, other in zip(SAMPLES, DRAWS, others, strict=True)
        ]
        lines.append(f"| {estimator} | {' | '.join(cells)} |")
    lines += [
        "",
        f"A 784-100-100-10 network is trained on MNIST for {given.epochs} epochs with batches of "
        "128 and Adam (0.003), without a chip. The table shows the test accuracy in % of the "
        "mean of ten samples for each training seed, and seconds per epoch.",
        "",
        "| estimator | accuracy | seconds per epoch |",
        "|---|---|---|",
    ]
    arms = {
        "psa": {"objective": ("psa", "cross-entropy:weight=0"), "model": "stochastic-binary"},
        "st": {"model": "stochastic-binary"},
        "hardtanh": {"model": "benchmarks.psa:hardtanh"},
    }
    for name, settings in arms.items():
        found, seconds = [], []
        for seed in range(given.seeds):
            config = make_config(
                profile="ideal", method="digital", data="mnist", data_dir=given.data_dir, lr=0.003,
                epochs=given.epochs, seed=seed, **settings,
            )  # fmt: skip
            label = f"{name}, seed {seed}"
            run = fit(
                config, given.runs / f"{name}-{seed}", resume=True, progress=Lines(label, config)
            )
            found.append(100 * run.digital_accuracy)
            metrics = (run.path / "metrics.jsonl").read_text().splitlines()
            seconds.append(np.mean([json.loads(line)["seconds"] for line in metrics]))
        accuracies = ", ".join(f"{value:.2f}" for value in found)
        lines.append(f"| {name} | {accuracies} | {np.mean(seconds):.1f} |")
    write_text(RESULTS / "psa.md", "\n".join([*lines, "", versions(), ""]))
    print("\n".join(lines))


def _cosine(estimator: str, samples: int, repetitions: int) -> str:
    found = []
    for seed in range(3):
        torch.manual_seed(seed)
        net = StochasticBinary(SIZES, "hardtanh" if estimator == "hardtanh" else "st").double()
        for layer in net.hidden:
            torch.nn.init.normal_(layer.weight, std=0.6)
        x, y = torch.randn(1, SIZES[0], dtype=torch.float64).sign(), torch.tensor([seed % 3])
        truth = _exact(net.train(), x, y)
        for _ in range(repetitions):
            found.append(
                F.cosine_similarity(_estimate(net, estimator, x, y, samples), truth, dim=0).item()
            )
    return f"{np.mean(found):.3f} ± {np.std(found):.3f}"


def _exact(net: StochasticBinary, x: Tensor, y: Tensor) -> Tensor:
    patterns = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=5)), dtype=torch.float64)
    states, probability = x, torch.ones(1, dtype=torch.float64)
    for layer in net.hidden:
        chance = torch.sigmoid(patterns * layer(states).unsqueeze(1)).prod(2)
        probability, states = (probability.unsqueeze(1) * chance).sum(0), patterns
    each = F.cross_entropy(net.classifier(states), y.expand(32), reduction="none")
    return _flat(torch.autograd.grad((probability * each).sum(), _weights(net)))


def _estimate(net: StochasticBinary, estimator: str, x: Tensor, y: Tensor, n: int) -> Tensor:
    x, y = x.expand(n, -1), y.expand(n)
    if estimator == "psa":
        loss = net.path_sample_analytic(x, y)
    elif estimator == "reinforce":
        score, signs = torch.zeros(n, dtype=torch.float64), x
        for layer, comparators in zip(net.hidden, net.comparators, strict=True):
            a = layer(signs)
            signs = comparators(a.detach())
            score = score + F.logsigmoid(signs * a).sum(1)
        f = F.cross_entropy(net.classifier(signs), y, reduction="none").detach()
        loss = (f * score).mean()
    else:
        loss = F.cross_entropy(net(x), y)
    return _flat(torch.autograd.grad(loss, _weights(net)))


def _weights(net: StochasticBinary) -> list[Tensor]:
    return [layer.weight for layer in net.hidden]


def _flat(tensors: tuple[Tensor, ...]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])


if __name__ == "__main__":
    main()
