"""The straight-through estimator in high dimension: plateaus and sudden drops of the error.

    python -m benchmarks.ste_dynamics [--dimension 1000] [--seeds 5]

Online linear regression with quantized weights: a Gaussian teacher ``w*``, ``y = x w* / sqrt(d)``,
and a student ``Q(w)`` of 2 bits with the fixed range omega, trained by plain SGD through the
identity (clipped at the range). Test error ``|Q(w) - w*|^2 / 2d`` against steps over dimension, for
ranges from 0.5 to 4. The setting follows T. Ichikawa et al., arXiv:2510.10693, without input
quantization.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.lines import versions
from cimsim.analysis.figures.canvas import save
from cimsim.analysis.figures.theme import COLORS, MARKERS
from cimsim.files import write_text
from cimsim.quantizers import Uniform
from cimsim.seeds import generator

RESULTS = Path(__file__).parent / "results"
RANGES = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
BITS, RATE, UNTIL, BATCH, POINTS = 2, 0.05, 60.0, 10, 240


def main() -> None:
    """Simulate, draw, tabulate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dimension", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    times = np.arange(POINTS) * UNTIL / POINTS
    errors = {
        omega: np.array([learn(omega, given.dimension, seed) for seed in range(given.seeds)])
        for omega in RANGES
    }
    figure = plt.figure(figsize=(8, 4.8), layout="constrained")
    axes = figure.add_subplot()
    for i, (omega, curves) in enumerate(errors.items()):
        style = {"color": COLORS[i], "marker": MARKERS[i], "markevery": 20}
        axes.plot(times, curves.mean(0), label=f"range {omega:g}", **style)
        axes.fill_between(times, curves.min(0), curves.max(0), color=COLORS[i], alpha=0.15)
    axes.set(xlabel="Steps / dimension", ylabel="Test error", ylim=(0, None))
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    save(figure, RESULTS / "ste_dynamics.png")
    write_text(RESULTS / "ste_dynamics.md", _markdown(times, errors, given.dimension))
    print((RESULTS / "ste_dynamics.md").read_text(encoding="utf-8"))


def learn(omega: float, d: int, seed: int) -> NDArray[np.float64]:
    """Test error at evenly spaced times."""
    rng = generator("ste dynamics", d, seed)
    teacher = torch.randn(d, generator=rng)
    w = 0.01 * torch.randn(1, d, generator=rng)
    quantizer = Uniform(BITS, range=omega)
    steps = int(UNTIL * d / BATCH)
    marks = {round(i * steps / POINTS) for i in range(POINTS)}
    found = []
    for step in range(steps):
        held = quantizer(w)[0]
        if step in marks:
            found.append(float((held - teacher).square().mean()) / 2)
        x = torch.randn(BATCH, d, generator=rng)
        error = x @ (held - teacher) / d**0.5
        gradient = (error[:, None] * x).sum(0) / d**0.5
        w = w - RATE * gradient * (w.abs() <= omega)
    return np.array(found)


def _markdown(times: NDArray[np.float64], errors: dict[float, NDArray[np.float64]], d: int) -> str:
    lines = [
        "# The straight-through estimator in high dimension",
        "",
        f"    python -m benchmarks.ste_dynamics --dimension {d}",
        "",
        f"The student has {BITS}-bit weights and a learning rate of {RATE}. The table shows mean "
        f"± standard deviation over {len(next(iter(errors.values())))} seeds. The plateau ends "
        "when the error has fallen by a tenth for the first time; the drop lasts from then until "
        "the error has covered nine tenths of the way to the lowest error. Times are in steps "
        "divided by the dimension. *Predicted*: as long as the output of the student is zero, "
        "its latent weights move at `rate * w*`, so the first weights reach the threshold `omega "
        "/ 2` at `omega / (2 rate max|w*|)`.",
        "",
        "| range | initial error | lowest error | final error | end of the plateau | predicted "
        "first code | duration of the drop |",
        "|---|---|---|---|---|---|---|",
    ]
    largest = float(
        np.mean(
            [
                abs(torch.randn(d, generator=generator("ste dynamics", d, s))).max()
                for s in range(len(next(iter(errors.values()))))
            ]
        )
    )
    for omega, curves in errors.items():
        ends = np.array([_first(times, c, 0.9 * c[0]) for c in curves])
        down = np.array([_first(times, c, c.min() + 0.1 * (c[0] - c.min())) for c in curves])
        cells = [
            _pm(curves[:, 0]), _pm(curves.min(1)), _pm(curves[:, -1]), _pm(ends),
            f"{omega / (2 * RATE * largest):.1f}", _pm(down - ends),
        ]  # fmt: skip
        lines.append(f"| {omega:g} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", versions(), ""])


def _first(times: NDArray[np.float64], curve: NDArray[np.float64], below: float) -> float:
    return float(times[np.argmax(curve < below)])


def _pm(values: NDArray[np.float64]) -> str:
    return f"{values.mean():.3g} ± {values.std(ddof=1):.1g}"


if __name__ == "__main__":
    main()
