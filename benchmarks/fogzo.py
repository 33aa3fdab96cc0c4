"""Zeroth-order corrections of the straight-through estimator: loss and number of forward passes.

    python -m benchmarks.fogzo --data-dir DIR [--steps 600] [--seeds 3] [--many] [--long]
        [--runs runs/fogzo]

Trains a 784-10-10 network (7,960 parameters) with 2-bit weights of a fixed scale on MNIST, by the
straight-through estimator, by n-SPSA and by FOGZO, each with Adam and with momentum at the best of
three rates (cosine decay). The loss is measured with the quantized network on 10,000 training
images. A backward pass counts as two forward passes. ``--many`` adds n-SPSA with n = 7,960, which
is one pair of forward passes for each parameter as in the published comparison, with one seed and
the optimizer and rate that were best for n = 100 (about two seconds per step). ``--long`` also
trains the cheap methods for ten times the steps (an hour on one thread). Finished results are kept
in ``--runs``.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from torch import Tensor

from benchmarks.lines import versions
from cimsim.analysis.figures.canvas import save
from cimsim.analysis.figures.theme import COLORS, MARKERS
from cimsim.files import write_text
from cimsim.quantizers import Uniform
from cimsim.seeds import generator
from cimsim.training.correctors import SMOOTHING, Corrector, Fogzo, Spsa
from cimsim.training.data import load_data

RESULTS = Path(__file__).parent / "results"
RANGES = (0.1, 0.5)  # of the two layers' weights
BATCH, EVERY = 128, 10
CHUNK = 199  # perturbed networks at a time
OPTIMIZERS: dict[str, tuple[type[torch.optim.Optimizer], dict[str, float], tuple[float, ...]]] = {
    "Adam": (torch.optim.Adam, {}, (0.001, 0.003, 0.01)),
    "momentum 0.9": (torch.optim.SGD, {"momentum": 0.9}, (0.01, 0.03, 0.1)),
}
Tuning = tuple[str, float]  # an optimizer and its rate
TUNINGS = [[(name, rate) for rate in rates] for name, (_, _, rates) in OPTIMIZERS.items()]
Curves: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"  # [seeds, steps / EVERY]


class ManySpsa(Spsa):
    """n-SPSA of this network, many perturbed copies at a time."""

    name = "many-spsa"

    def correct_network(
        self,
        parameters: list[Tensor],
        x: Tensor,
        y: Tensor,
        steps: list[float],
        draws: torch.Generator,
    ) -> None:
        """Write the estimate into the parameters' gradients."""
        spread, distribution = SMOOTHING[self.surrogate]
        sums = [torch.zeros_like(p) for p in parameters]
        for first in range(0, self.n, CHUNK):
            count = min(CHUNK, self.n - first)
            u = [distribution(torch.rand(count, *p.shape, generator=draws)) for p in parameters]
            losses = [
                _loss(
                    [
                        p + sign * spread * s * v
                        for p, s, v in zip(parameters, steps, u, strict=True)
                    ],
                    x,
                    y,
                )
                for sign in (1, -1)
            ]
            slope = (losses[0] - losses[1]) / 2
            for total, v in zip(sums, u, strict=True):
                total += torch.tensordot(slope, v, dims=1)
        for p, total, s in zip(parameters, sums, steps, strict=True):
            p.grad = total / (self.n * spread * s)


ARMS: dict[str, Corrector | None] = {
    "STE": None,
    "n-SPSA, n = 1": Spsa(1),
    "n-SPSA, n = 10": Spsa(10),
    "FOGZO, n = 1": Fogzo(beta=0.999, n=1),
    "FOGZO, n = 10": Fogzo(beta=0.999, n=10),
    "n-SPSA, n = 100": ManySpsa(100),
    "n-SPSA, n = 7,960": ManySpsa(7960),
}
LONG = ("STE", "FOGZO, n = 1", "FOGZO, n = 10")  # also with ten times the steps
COSTLY = "n-SPSA, n = 7,960"  # with one seed, tuned as
LIKE = "n-SPSA, n = 100"


def main() -> None:
    """Train, draw, tabulate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--many", action="store_true")
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--runs", type=Path, default=Path("runs/fogzo"))
    given = parser.parse_args()
    given.runs.mkdir(parents=True, exist_ok=True)
    data = load_data("mnist", given.data_dir)
    x, y = data.train_x.flatten(1), data.train_y

    def curves(name: str, steps: int, tuning: Tuning, seeds: int) -> Curves:
        return np.array(
            [_kept(given.runs, name, x, y, steps, tuning, seed) for seed in range(seeds)]
        )

    figure = plt.figure(figsize=(8, 4.8), layout="constrained")
    axes = figure.add_subplot()
    best: dict[str, list[tuple[Tuning, Curves]]] = {}
    rows = []
    for i, name in enumerate(ARMS):
        if name == COSTLY:
            if not given.many:
                continue
            tuning, _ = min(best[LIKE], key=_loss_at_end)
            best[name] = [(tuning, curves(name, given.steps, tuning, 1))]
        else:
            best[name] = [
                min(
                    ((tuning, curves(name, given.steps, tuning, given.seeds)) for tuning in some),
                    key=_loss_at_end,
                )
                for some in TUNINGS
            ]
        rows.append(_row(name, name, best[name]))
        _draw(axes, i, name, min(best[name], key=_loss_at_end)[1])
    for name in LONG if given.long else ():
        tuning, _ = min(best[name], key=_loss_at_end)
        some = next(group for group in TUNINGS if tuning in group)[:2]
        found = min(
            ((t, curves(name, 10 * given.steps, t, given.seeds)) for t in some), key=_loss_at_end
        )
        long = f"{name}, ten times the steps"
        rows.append(_row(long, name, [found]))
        _draw(axes, list(ARMS).index(name), long, found[1])
    axes.set(xscale="log", xlabel="Forward passes", ylabel="Training loss of the quantized network")
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    save(figure, RESULTS / "fogzo.png")
    text = [
        "# FOGZO and n-SPSA, compared with the straight-through estimator",
        "",
        f"    python -m benchmarks.fogzo --data-dir DIR --steps {given.steps} --seeds {given.seeds}"
        + " --many" * given.many
        + " --long" * given.long,
        "",
        "A 784-10-10 network (7,960 parameters) is trained on MNIST with 2-bit weights of the "
        f"fixed ranges {RANGES}, for {given.steps} steps of {BATCH} images with cosine decay of "
        "the learning rate. The table shows the training loss, mean ± standard error over seeds, "
        "with the best of three learning rates for each optimizer"
        + (" (of two for the long trainings)" if given.long else "")
        + ("; n = 7,960 uses the learning rate of n = 100" if given.many else "")
        + ". A backward pass counts as two forward passes. FOGZO uses beta = 0.999; its default, "
        "1 - 1/d, is 0.99987 here.",
        "",
        f"| method | forward passes per step | {' | '.join(OPTIMIZERS)} |",
        "|---|---|" + "---|" * len(OPTIMIZERS),
        *rows,
        "",
        versions(),
        "",
    ]
    write_text(RESULTS / "fogzo.md", "\n".join(text))


def _loss_at_end(found: tuple[Tuning, Curves]) -> float:
    return float(found[1][:, -1].mean())


def _kept(
    runs: Path, name: str, x: Tensor, y: Tensor, steps: int, tuning: Tuning, seed: int
) -> list[float]:
    """The curve of the training, from its file if it is finished."""
    words = (name, steps, *tuning, seed)
    path = runs / ("-".join(str(w).replace(" ", "").replace(",", "") for w in words) + ".json")
    if not path.is_file():
        write_text(path, json.dumps(_train(ARMS[name], x, y, steps, tuning, seed)))
    found: list[float] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _draw(axes: Axes, i: int, name: str, curves: Curves) -> None:
    long = name not in ARMS
    corrector = ARMS[name.removesuffix(", ten times the steps")]
    forwards = _cost(corrector) * np.arange(1, curves.shape[1] + 1) * EVERY
    style = {"color": COLORS[i % len(COLORS)], "label": None if long else name}
    marks = {"linestyle": "--"} if long else {"marker": MARKERS[i % len(MARKERS)], "markevery": 5}
    axes.plot(forwards, curves.mean(0), **style, **marks)


def _row(title: str, name: str, found: list[tuple[Tuning, Curves]]) -> str:
    cells = dict.fromkeys(OPTIMIZERS, "")
    for (optimizer, rate), curves in found:
        final = curves[:, -1]
        error = f" ± {final.std(ddof=1) / len(final) ** 0.5:.3f}" if len(final) > 1 else ""
        cells[optimizer] = f"{final.mean():.3f}{error} (rate {rate:g})"
    row = f"| {title} | {_cost(ARMS[name]):,} | {' | '.join(cells.values())} |"
    print(row, flush=True)
    return row


def _cost(corrector: Corrector | None) -> int:
    if corrector is None:
        return 3
    assert isinstance(corrector, Spsa | Fogzo)
    return 2 * corrector.n + (3 if isinstance(corrector, Fogzo) else 0)


def _train(
    corrector: Corrector | None, x: Tensor, y: Tensor, steps: int, tuning: Tuning, seed: int
) -> list[float]:
    rng = generator("fogzo", seed)
    shapes = [(10, 784), (10,), (10, 10), (10,)]
    bounds = [784**-0.5, 784**-0.5, 10**-0.5, 10**-0.5]
    parameters = [
        ((2 * torch.rand(s, generator=rng) - 1) * b).requires_grad_()
        for s, b in zip(shapes, bounds, strict=True)
    ]
    sizes = [RANGES[0], RANGES[0], RANGES[1], RANGES[1]]
    make, settings, _ = OPTIMIZERS[tuning[0]]
    optimizer = make(parameters, lr=tuning[1], **settings)  # type: ignore[call-arg]
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    curve = []
    for step in range(steps):
        rows = torch.randint(len(x), (BATCH,), generator=rng)
        bx, by = x[rows], y[rows]
        optimizer.zero_grad()
        if not isinstance(corrector, Spsa):
            _loss([p.unsqueeze(0) for p in parameters], bx, by).sum().backward()
        with torch.no_grad():
            if isinstance(corrector, ManySpsa):
                corrector.correct_network(parameters, bx, by, sizes, rng)
            elif corrector is not None:
                corrector.correct(
                    parameters,
                    partial(_one, parameters, bx, by),
                    sizes,
                    rng,
                    step / steps,
                )
        optimizer.step()
        decay.step()
        if (step + 1) % EVERY == 0:
            with torch.no_grad():
                curve.append(_one(parameters, x[:10_000], y[:10_000]).item())
    return curve


def _one(parameters: list[Tensor], x: Tensor, y: Tensor) -> Tensor:
    return _loss([p.unsqueeze(0) for p in parameters], x, y)[0]


def _loss(parameters: list[Tensor], x: Tensor, y: Tensor) -> Tensor:
    """Losses ``[n]`` of n networks with 2-bit weights."""
    w1, b1, w2, b2 = parameters
    w1, w2 = (Uniform(2, range=r)(w) for r, w in zip(RANGES, (w1, w2), strict=True))
    hidden = torch.relu(torch.einsum("bi,noi->nbo", x, w1) + b1.unsqueeze(1))
    logits = torch.einsum("nbi,noi->nbo", hidden, w2) + b2.unsqueeze(1)
    n = len(logits)
    each = F.cross_entropy(logits.flatten(0, 1), y.repeat(n), reduction="none")
    return each.view(n, -1).mean(1)


if __name__ == "__main__":
    main()
