"""LOTION, compared with training with rounding (QAT) and rounding after training (PTQ).

    python -m benchmarks.lotion --data-dir DIR [--seeds 3] [--epochs 3] [--runs runs/lotion]

The first task is linear regression with a power-law covariance in 1000 dimensions, 4-bit weights
and the exact curvature. The rates and weights of every method are chosen on other seeds; QAT uses
the scale of the current weights or a fixed scale. The second task is the character GPT on
tiny-shakespeare with 4, 3 and 2-bit weights: it is trained without rounding, and then for one more
epoch with each method, with the curvature from mean squared gradients. For the evaluation, the
weights of each method are rounded to the nearest level.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.lines import Lines, versions
from cimsim.files import write_text
from cimsim.nn import analog_layers, digital
from cimsim.nn.scoring import evaluate
from cimsim.quantizers import Uniform
from cimsim.training.config import make_config
from cimsim.training.data import DataSet, load_data
from cimsim.training.fit import fit
from cimsim.training.objectives.lotion import rounding_variance
from cimsim.training.run import Run

RESULTS = Path(__file__).parent / "results"
DIMENSION, POWER, STEPS, BITS = 1000, 1.1, 1500, 4
RATES = (0.00001, 0.00003, 0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03)
WEIGHTS = (0.1, 0.3, 1.0, 3.0)
TUNING = (100, 101)  # seeds that choose rates and weights
GPT_WEIGHTS = (0.1, 0.3, 1.0, 3.0)

Choice = tuple[float, float]  # a rate and a weight


def main() -> None:
    """Train, tabulate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--runs", type=Path, default=Path("runs/lotion"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3)
    given = parser.parse_args()
    lines = [
        "# LOTION, QAT and PTQ",
        "",
        f"    python -m benchmarks.lotion --seeds {given.seeds}"
        + (f" --data-dir DIR --epochs {given.epochs}" if given.data_dir is not None else ""),
        "",
        f"The first task is a linear regression with d = {DIMENSION}, covariance eigenvalues "
        f"k^-{POWER} and {BITS}-bit weights with one scale (the largest magnitude), trained by "
        f"Adam from the unquantized optimum for {STEPS} steps. The table shows the loss of the "
        f"rounded weights, mean ± standard error over {given.seeds} seeds. Learning rates "
        f"({RATES[0]:g} to {RATES[-1]:g}) and the weight of LOTION's term ({WEIGHTS[0]:g} to "
        f"{WEIGHTS[-1]:g}) are chosen on {len(TUNING)} other seeds. The scale of QAT follows the "
        "current weights, or is fixed at the scale of the optimum.",
        "",
        "| covariance | " + " | ".join(METHODS) + " |",
        "|---|" + "---|" * len(METHODS),
        *(_regression(rotated, given.seeds) for rotated in (False, True)),
        "",
        "Without correlations, the rounding of each weight is independent of the others, and "
        "rounding to the nearest level is optimal, so no method can improve on PTQ. With "
        "correlations, one weight can compensate for the rounding of another.",
    ]
    if given.data_dir is not None:
        lines += ["", *_gpt(given)]
    write_text(RESULTS / "lotion.md", "\n".join([*lines, "", versions(), ""]))
    print("\n".join(lines))


@dataclass(frozen=True)
class Problem:
    """A regression: the loss is ``1/2 (w - optimum)^T hessian (w - optimum)``."""

    optimum: Tensor
    hessian: Tensor

    def loss(self, w: Tensor) -> float:
        """Return the loss at the weights ``w``."""
        error = w - self.optimum
        return float(error @ self.hessian @ error) / 2


def _problem(rotated: bool, seed: int) -> Problem:
    torch.manual_seed(seed)
    eigenvalues = torch.arange(1, DIMENSION + 1, dtype=torch.float64) ** -POWER
    axes = torch.eye(DIMENSION, dtype=torch.float64)
    if rotated:
        axes = torch.linalg.qr(torch.randn_like(axes))[0]
    hessian = axes @ torch.diag(eigenvalues) @ axes.T
    return Problem(torch.randn(DIMENSION, dtype=torch.float64), hessian)


def _ptq(problem: Problem, choice: Choice) -> Tensor:
    return _rounded(problem.optimum)


def _qat(problem: Problem, choice: Choice) -> Tensor:
    def gradient(w: Tensor) -> Tensor:
        return problem.hessian @ (_rounded(w) - problem.optimum)

    return _rounded(_descend(gradient, problem.optimum, choice[0]))


def _qat_fixed(problem: Problem, choice: Choice) -> Tensor:
    """The range stays at the range of the optimum, so that the grid does not move."""
    fixed = Uniform(BITS, range=float(problem.optimum.abs().max()))

    def gradient(w: Tensor) -> Tensor:
        return problem.hessian @ (fixed(w[None])[0] - problem.optimum)

    return fixed(_descend(gradient, problem.optimum, choice[0])[None])[0]


def _lotion(problem: Problem, choice: Choice) -> Tensor:
    rate, weight = choice

    def gradient(w: Tensor) -> Tensor:
        return problem.hessian @ (w - problem.optimum) + weight * _pull(w, problem.hessian)

    return _rounded(_descend(gradient, problem.optimum, rate))


_OF_RATES = [(rate, 0.0) for rate in RATES]

# Each function trains with a rate and a weight, and returns rounded weights.
METHODS: dict[str, tuple[Callable[[Problem, Choice], Tensor], list[Choice]]] = {
    "PTQ": (_ptq, [(0.0, 0.0)]),
    "QAT (STE)": (_qat, _OF_RATES),
    "QAT (STE), fixed scale": (_qat_fixed, _OF_RATES),
    "LOTION": (_lotion, [(rate, weight) for rate in RATES for weight in WEIGHTS]),
}


def _regression(rotated: bool, seeds: int) -> str:
    tuning = [_problem(rotated, seed) for seed in TUNING]
    problems = [_problem(rotated, seed) for seed in range(seeds)]
    cells = []
    for name, (train, choices) in METHODS.items():
        scores = [np.mean([p.loss(train(p, choice)) for p in tuning]) for choice in choices]
        rate, weight = best = choices[int(np.argmin(scores))]
        losses = [p.loss(train(p, best)) for p in problems]
        at = f" (rate {rate:g}" * bool(rate) + f", weight {weight:g}" * bool(weight)
        error = np.std(losses, ddof=1) / math.sqrt(seeds) if seeds > 1 else math.nan
        cells.append(f"{np.mean(losses):.4f} ± {error:.4f}" + (f"{at})" if at else ""))
        print(f"rotated {rotated}, {name}: {cells[-1]}", flush=True)
    return f"| {'correlated' if rotated else 'diagonal'} | {' | '.join(cells)} |"


def _rounded(w: Tensor) -> Tensor:
    return Uniform(BITS)(w[None])[0]


def _pull(w: Tensor, hessian: Tensor) -> Tensor:
    w = w.clone().requires_grad_()
    smooth = (hessian.diagonal() * rounding_variance(w[None], BITS, "row")[0]).sum() / 2
    return torch.autograd.grad(smooth, w)[0]


def _descend(gradient: Callable[[Tensor], Tensor], start: Tensor, rate: float) -> Tensor:
    w = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([w], lr=rate)
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = rate * 0.5 * (1 + math.cos(math.pi * step / STEPS))
        w.grad = gradient(w.detach())
        optimizer.step()
    return w.detach()


def _gpt(given: argparse.Namespace) -> list[str]:
    data = load_data("tinyshakespeare", given.data_dir)
    first = _trained(given, "first", {"epochs": given.epochs, "lr": 0.002})
    lines = [
        "The second task is a character GPT (0.82 million parameters) on tiny-shakespeare, "
        f"trained for {given.epochs} epochs without rounding, and then for one more epoch with "
        f"each method; the {given.seeds} seeds change the order of the data. The table shows the "
        "validation loss in nats per character ± standard error, with the weights of all linear "
        "layers rounded to the nearest level (one scale per row). PTQ includes one more epoch of "
        "ordinary training.",
        "",
        "| bits | PTQ | QAT (STE) | "
        + " | ".join(f"LOTION, weight {weight:g}" for weight in GPT_WEIGHTS)
        + " | not rounded |",
        "|---|---|---|---|" + "---|" * len(GPT_WEIGHTS),
    ]
    for bits in (4, 3, 2):
        arms: list[tuple[str, dict[str, object], int | None]] = [
            ("plain", {}, bits),
            (f"qat-{bits}", {"quantize_weights": f"uniform:bits={bits}"}, bits),
            *(
                (f"lotion-{bits}-{w:g}", {"objective": (f"lotion:bits={bits},weight={w:g}",)}, bits)
                for w in GPT_WEIGHTS
            ),
            ("plain", {}, None),
        ]
        cells = []
        for name, settings, rounded in arms:
            losses = []
            for seed in range(given.seeds):
                tuned = {"start": first.path, "epochs": 1, "lr": 0.0005, "seed": seed, **settings}
                losses.append(_evaluated(_trained(given, f"{name}-{seed}", tuned), data, rounded))
            error = np.std(losses, ddof=1) / math.sqrt(len(losses)) if len(losses) > 1 else math.nan
            cells.append(f"{np.mean(losses):.4f} ± {error:.4f}")
        lines.append(f"| {bits} | {' | '.join(cells)} |")
    published = "Published (150M parameters, C4, INT4): LOTION 3.295, QAT 3.315, PTQ 3.864."
    return [*lines, "", published]


def _trained(given: argparse.Namespace, name: str, settings: dict[str, object]) -> Run:
    config = make_config(
        profile="ideal", method="digital", data="tinyshakespeare", data_dir=given.data_dir,
        model="gpt", batch_size=32, **settings,
    )  # fmt: skip
    return fit(config, given.runs / name, resume=True, progress=Lines(name, config))


def _evaluated(run: Run, data: DataSet, bits: int | None) -> float:
    model = run.chip_model(run.profile)
    for layer in analog_layers(model).values():
        layer.quantize(None if bits is None else f"uniform:bits={bits}", None)
    with digital(model):
        return evaluate(model, data.test_x, data.test_y).loss


if __name__ == "__main__":
    main()
