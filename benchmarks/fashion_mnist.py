"""Accuracy versus noise on Fashion-MNIST: digital, standard and noise-aware training.

    python -m benchmarks.fashion_mnist --data-dir DIR [--seeds 0,1] [--runs runs/fashion-mnist]

Trains the 493,642-parameter CNN against the PCM profile in every way of ``ARMS``, evaluates each on
the same ten chips that no training has seen, at noise 0, 1, 2 and 4 (a factor on every noise of the
profile), and writes the table and the picture to ``benchmarks/results/``. What is finished is kept:
the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from cimsim.analysis.levels import parse_axis
from cimsim.analysis.plot import Curve, draw, save
from cimsim.analysis.stats import Summary, summary
from cimsim.analysis.store import Sweep, write_csv
from cimsim.analysis.sweep import sweep
from cimsim.training.config import make_config
from cimsim.training.files import write_text
from cimsim.training.fit import environment, fit
from cimsim.training.run import Run

PROFILE, LEVELS, CHIPS, EPOCHS = "pcm-ibm-2020", "noise=0,1,2,4", 10, 8
RESULTS = Path(__file__).parent / "results"

# Each arm: what its name says in the table, and how it differs from the defaults of `cimsim train`.
ARMS: dict[str, dict[str, object]] = {
    "digital": {"method": "digital"},
    # As published (Joshi et al. 2020): noise of 3.8 % of the largest weight, clipping at 2.5 sigma.
    "standard-nat, published": {"method": "standard-nat", "clip_sigma": 2.5},
    # With three times that noise and the clipping that noise-aware training has by default.
    "standard-nat, tuned": {"method": "standard-nat", "gaussian_sigma": 0.114},
    "noise-aware": {"method": "noise-aware"},
    "noise-aware, clipped at 2": {"method": "noise-aware", "clip_sigma": 2.0},
    "noise-aware, noise 3": {"method": "noise-aware", "noise": 3.0},
}


class Lines:
    """Prints an epoch per line."""

    def __init__(self, name: str) -> None:
        self.name = name

    def start(self, total: int, done: int) -> None:
        print(f"{self.name}: step {done} of {total}", flush=True)

    def step(self, epoch: int, loss: float, accuracy: float, count: int) -> None:
        return

    def epoch(self, metrics: dict[str, object]) -> None:
        print(f"{self.name}: {json.dumps(metrics)}", flush=True)

    def note(self, text: str) -> None:
        print(f"{self.name}: {text}", flush=True)


def main() -> None:
    """Train, sweep, tabulate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=Path("runs/fashion-mnist"))
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--arm", action="append", choices=ARMS, help="only this part")
    arguments = parser.parse_args()
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    finished: dict[str, list[Sweep]] = {}
    for arm in arguments.arm or ARMS:
        for seed in seeds:
            run = _train(arm, seed, arguments.runs, arguments.data_dir)
            (swept,) = sweep([run], parse_axis(LEVELS), CHIPS, data_dir=arguments.data_dir)
            finished.setdefault(arm, []).append(swept)
    if set(finished) == set(ARMS):
        _write(finished, seeds, arguments.runs)


def _train(arm: str, seed: int, runs: Path, data_dir: Path) -> Run:
    name = f"{arm.replace(',', '').replace(' ', '-')}-seed{seed}"
    config = make_config(
        profile=PROFILE,
        data="fashion-mnist",
        data_dir=data_dir,
        model="cnn",
        epochs=EPOCHS,
        seed=seed,
        **ARMS[arm],
    )
    return fit(config, runs / name, resume=True, progress=Lines(name))


def _write(finished: dict[str, list[Sweep]], seeds: Sequence[int], runs: Path) -> None:
    table = {arm: _over_seeds(sweeps) for arm, sweeps in finished.items()}
    digital = {arm: _mean_digital(sweeps) for arm, sweeps in finished.items()}
    curves = [Curve(arm, digital[arm], tuple(points)) for arm, points in table.items()]
    save(draw(curves, parse_axis(LEVELS)), RESULTS / "fashion_mnist.png")
    flat = [swept for sweeps in finished.values() for swept in sweeps]
    names = [f"{arm}, seed {seed}" for arm in finished for seed in seeds]
    write_csv(RESULTS / "fashion_mnist.csv", flat, names)
    write_text(RESULTS / "fashion_mnist.md", _markdown(table, digital, seeds))
    print((RESULTS / "fashion_mnist.md").read_text(encoding="utf-8"))


def _over_seeds(sweeps: Sequence[Sweep]) -> list[Summary]:
    """A level's chips of all training seeds together; the error of the mean is over seeds where
    there are several, because chips of one training share its luck."""
    points = []
    for level in sweeps[0].plan.levels:
        each = [[c.accuracy for c in s.cells if c.level == level] for s in sweeps]
        together = summary(level, [accuracy for accuracies in each for accuracy in accuracies])
        if len(each) > 1:
            means = np.array([np.mean(accuracies) for accuracies in each])
            error = float(means.std(ddof=1) / math.sqrt(len(means)))
            error = max(error, together.standard_error)
            together = Summary(**{**vars(together), "standard_error": error})
        points.append(together)
    return points


def _mean_digital(sweeps: Sequence[Sweep]) -> float:
    return sum(s.plan.digital_accuracy for s in sweeps) / len(sweeps)


def _markdown(
    table: dict[str, list[Summary]], digital: dict[str, float], seeds: Sequence[int]
) -> str:
    levels = [point.level for point in next(iter(table.values()))]
    versions = environment()
    best = [max(points[i].mean for points in table.values()) for i in range(len(levels))]
    lines = [
        "# Fashion-MNIST, 493,642-parameter CNN, PCM chip (`pcm-ibm-2020`)",
        "",
        "    python -m benchmarks.fashion_mnist --data-dir DIR "
        f"--seeds {','.join(map(str, seeds))}",
        "",
        f"Test accuracy in % over {CHIPS} unseen chips, {len(seeds)} training seed(s), {EPOCHS} "
        "epochs of 60,000 images each: mean ± standard error of the mean (worst chip). Noise is a "
        "factor on every noise of the profile (programming, read); chips are fresh (age 0), 8-bit "
        "DAC and ADC. The best mean of a column is bold. Clipping and schedule were chosen "
        "on the digits; noise 2 was made the default after noise 3 had been seen here to cost more "
        "than a point at noise 1. `standard-nat, tuned` has 11.4 % noise and the clipping of "
        "noise-aware training.",
        "",
        "| training | digital | " + " | ".join(f"noise {level:g}" for level in levels) + " |",
        "|---|---|" + "---|" * len(levels),
    ]
    for arm, points in table.items():
        cells = []
        for point, top in zip(points, best, strict=True):
            mean = f"{100 * point.mean:.2f}"
            mean = f"**{mean}**" if point.mean == top else mean
            cells.append(f"{mean} ± {100 * point.standard_error:.2f} ({100 * point.worst:.2f})")
        lines.append(f"| {arm} | {100 * digital[arm]:.2f} | " + " | ".join(cells) + " |")
    ours = table["noise-aware"]
    lines += [
        "",
        "How far `noise-aware` (the default) lies above the others, in points and in standard "
        "errors of the difference:",
        "",
        "| against | " + " | ".join(f"noise {level:g}" for level in levels) + " |",
        "|---|" + "---|" * len(levels),
    ]
    for arm, points in table.items():
        if arm != "noise-aware":
            gaps = [_gap(a, b) for a, b in zip(ours, points, strict=True)]
            lines.append(f"| {arm} | " + " | ".join(gaps) + " |")
    packages = ", ".join(f"{k} {v}" for k, v in versions["packages"].items())
    lines += [
        "",
        f"cimsim {versions['cimsim']}, Python {versions['python']}, {packages}; CPU, "
        f"{torch.get_num_threads()} threads.",
        "",
    ]
    return "\n".join(lines)


def _gap(ours: Summary, other: Summary) -> str:
    points = 100 * (ours.mean - other.mean)
    error = 100 * math.hypot(ours.standard_error, other.standard_error)
    return f"{points:+.2f} ({points / error:+.1f} SE)" if error > 1e-6 else f"{points:+.2f}"


if __name__ == "__main__":
    main()
