"""The mismatch benchmark: Fashion-MNIST under multiplicative noise on every weight.

    python -m benchmarks.mismatch --data-dir DIR [--seeds 0,1] [--chips 100] [--runs runs/mismatch]
    [--arm "robust, noise 0.8" ...]

The protocol of Büchel, Faber and Muir (ICLR 2022): a CNN with 493,642 parameters, in which every
weight of every kernel and dense layer is multiplied by 1 + zeta xi once per chip, for zeta from 0
to 0.7, on 100 chips for each of two models. The command trains all arms, evaluates them on the same
chips, and writes a table and a figure to ``benchmarks/results/``. Finished results are kept, so the
same command resumes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.lines import Lines, versions
from cimsim.analysis.figures.canvas import save
from cimsim.analysis.figures.curves import draw
from cimsim.analysis.sweeps.axis import parse_axis
from cimsim.analysis.sweeps.store import write_csv
from cimsim.files import write_text
from cimsim.runs.compare import Arm, Outcome, compare, markdown

RESULTS = Path(__file__).parent / "results"
AXIS = parse_axis("cell.programming_noise.0.sigma_of_g=0,0.1,0.2,0.3,0.5,0.7")
COMMON = {
    "profile": "mismatch",
    "data": "fashion-mnist",
    "model": "cnn",
    "clip_sigma": 0.0,
    "learn_ranges": (),
    "batch_size": 64,
}
ARMS = [
    Arm("standard", {"method": "digital", "epochs": 8}),
    Arm("forward noise 0.3", {"noise": 1.0, "epochs": 8}),
    Arm(
        "forward noise 0.3, adversarial",
        {"noise": 1.0, "objective": ("adversarial:weight=0.1,zeta=0.1,steps=1",), "epochs": 8},
    ),
    *(
        Arm(
            f"robust, noise {noise:g}",
            {"recipe": "robust", "noise": noise, "augment": ("flip",), "epochs": epochs},
        )
        for noise, epochs in ((1.1, 24), (0.8, 30))
    ),
]

OURS, BASELINE_CHIPS = "robust", 25

# Table 1 of the paper, mean test accuracy in %, over 100 chips of two models.
PUBLISHED = {
    "published: standard": (91.30, 90.45, 87.93, 82.70, 61.14, 36.93),
    "published: dropout": (92.42, 91.13, 88.71, 84.94, 71.74, 53.91),
    "published: AWP": (92.35, 92.19, 91.42, 89.88, 82.59, 65.38),
    "published: forward noise 0.3": (92.00, 91.94, 91.63, 91.01, 87.82, 78.48),
    "published: forward noise 0.3, adversarial 0.1": (91.88, 91.77, 91.62, 91.25, 89.36, 84.19),
}


def main() -> None:
    """Train, evaluate, tabulate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=Path("runs/mismatch"))
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--chips", type=int, default=100)
    parser.add_argument("--arm", action="append", choices=[arm.name for arm in ARMS])
    given = parser.parse_args()
    seeds = [int(seed) for seed in given.seeds.split(",")]
    outcomes = []
    for arm in ARMS:
        if given.arm is not None and arm.name not in given.arm:
            continue
        ours = arm.name.startswith(OURS)
        outcomes += compare(
            [arm],
            {**COMMON, "data_dir": given.data_dir},
            AXIS,
            out=given.runs,
            chips=given.chips if ours else min(given.chips, BASELINE_CHIPS),
            seeds=seeds if ours else seeds[:1],
            watch=Lines,
            progress=lambda done, total, doing: print(f"{doing}: {done}/{total}", flush=True),
        )
    if any(outcome.arm.name.startswith(OURS) for outcome in outcomes):
        _write(outcomes, given)


def _write(outcomes: list[Outcome], given: argparse.Namespace) -> None:
    sweeps = [sweep for outcome in outcomes for sweep in outcome.sweeps]
    names = [f"{o.arm.name}, seed {r.config.seed}" for o in outcomes for r in o.runs]
    write_csv(RESULTS / "mismatch.csv", sweeps, names)
    save(draw([outcome.curve for outcome in outcomes], AXIS), RESULTS / "mismatch.png")
    heading, *table = markdown(outcomes, AXIS)
    best = [max(column) for column in zip(*PUBLISHED.values(), strict=True)]
    rows = [
        f"| {name} | | {' | '.join(f'{value:.2f}' for value in values)} |"
        for name, values in {**PUBLISHED, "best published": best}.items()
    ]
    ahead = [_ahead(o, best) for o in outcomes if o.arm.name.startswith(OURS)]
    arms = "".join(f" --arm '{name}'" for name in given.arm or ())
    epochs = ", ".join(f"{o.arm.name} {o.runs[0].config.epochs}" for o in outcomes)
    lines = [
        "# Mismatch of every weight, Fashion-MNIST, 493,642-parameter CNN",
        "",
        f"    python -m benchmarks.mismatch --data-dir DIR --seeds {given.seeds} "
        f"--chips {given.chips}{arms}",
        "",
        "Test accuracy in %: mean over chips ± standard error (worst chip), for training seeds "
        f"{given.seeds} with {given.chips} chips each (our runs of the other trainings: one seed, "
        f"{BASELINE_CHIPS} chips). Published rows: J. Büchel et al., ICLR 2022, Table 1. Epochs: "
        f"{epochs}. `{OURS}` also trains on mirrored images; the code of the published trainings "
        "mirrors and rotates two thirds of its images.",
        "",
        heading.replace(AXIS.label, "zeta"),
        *table,
        *rows,
        *ahead,
        "",
        versions(),
        "",
    ]
    write_text(RESULTS / "mismatch.md", "\n".join(lines))
    print("\n".join(lines))


def _ahead(ours: Outcome, best: list[float]) -> str:
    cells = []
    for point, published in zip(ours.points, best, strict=True):
        ahead = 100 * point.mean - published
        error = 100 * point.standard_error
        cells.append(f"{ahead:+.2f}" + (f" ({ahead / error:+.1f} SE)" if error > 0 else ""))
    return f"| {ours.arm.name} over the best published | | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
