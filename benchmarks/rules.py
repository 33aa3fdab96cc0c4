"""Backward rules in three regimes, against standard noise-aware training at its best.

    python -m benchmarks.rules --data-dir DIR [--limit 20000] [--epochs 4] [--seeds 0] [--cifar]
                               [--runs runs/rules] [--device auto]

Fashion-MNIST with the 493,642-parameter CNN, or CIFAR-10 with ResNet-20 (``--cifar``). Regime W:
weight noise; R: a tight, coarse ADC; M: mismatch of every weight. In each, every rule with the
whole device in the forward pass, and standard noise-aware training (Gaussian noise in the autograd
graph, no converters) at 0.7, 1, 1.4 and 2 times the noise that suits the regime; all evaluated on
the same unseen chips. ``--limit 60000 --epochs 8 --seeds 0,1,2`` is the full run, ``--cifar --limit
50000 --epochs 60 --seeds 0,1,2 --device cuda`` that of CIFAR-10.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from benchmarks.lines import Lines, versions
from cimsim.analysis.figures.canvas import save
from cimsim.analysis.figures.curves import draw
from cimsim.analysis.sweeps.axis import parse_axis
from cimsim.analysis.sweeps.stats import Summary
from cimsim.files import write_text
from cimsim.runs.compare import Arm, Outcome, compare, markdown
from cimsim.torch_device import working_device

HERE = Path(__file__).parent
AXIS = parse_axis("noise=0,0.5,1,1.5")
TIMES = (0.7, 1.0, 1.4, 2.0)

# Of each regime: its device, the noise of the standard training, and what all its arms share.
REGIMES: dict[str, tuple[str, float, dict[str, object]]] = {
    "W": (str(HERE / "devices" / "weight-noise.yaml"), 0.12, {}),
    "R": (str(HERE / "devices" / "readout.yaml"), 0.05, {}),
    "M": ("mismatch", 0.06, {"clip_sigma": 0.0}),
}
_TASKS = {False: "Fashion-MNIST, 493,642-parameter CNN", True: "CIFAR-10, ResNet-20"}
RULES = ("A", "B", "C", "E", "F")


def main() -> None:
    """Train, evaluate, tabulate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=Path("runs/rules"))
    parser.add_argument("--limit", type=int, default=20_000)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--chips", type=int, default=10)
    parser.add_argument("--cifar", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--regime", action="append", choices=REGIMES, help="only this")
    given = parser.parse_args()
    sections = []
    for regime in given.regime or REGIMES:
        device, sigma, shared = REGIMES[regime]
        arms = [
            Arm("digital", {"method": "digital"}),
            *(
                Arm(
                    f"standard, {factor:g} of the noise",
                    {"method": "standard-nat", "gaussian_sigma": factor * sigma},
                )
                for factor in TIMES
            ),
            *(Arm(f"rule {letter}", {"rule": letter, "noise": 1.0}) for letter in RULES),
        ]
        common = {
            "profile": device,
            "data": "cifar10" if given.cifar else "fashion-mnist",
            "data_dir": given.data_dir,
            "model": "resnet20" if given.cifar else "cnn",
            "augment": ("flip", "shift") if given.cifar else (),
            "device": working_device(given.device),
            "limit": given.limit,
            "epochs": given.epochs,
            **shared,
        }
        outcomes = compare(
            arms,
            common,
            AXIS,
            out=given.runs / _name(given) / regime,
            chips=given.chips,
            seeds=[int(seed) for seed in given.seeds.split(",")],
            watch=Lines,
        )
        drawn = [o.curve for o in outcomes if o.arm.name not in _worse_standards(outcomes)]
        save(
            draw(drawn, AXIS),
            HERE / "results" / f"{_name(given)}_{regime}.png",
        )
        sections += [
            "",
            f"## Regime {regime}",
            "",
            *markdown(outcomes, AXIS),
            "",
            _verdict(outcomes),
        ]
        _write(sections, given)
    print((HERE / "results" / f"{_name(given)}.md").read_text(encoding="utf-8"))


def _name(given: argparse.Namespace) -> str:
    return "rules_cifar10" if given.cifar else "rules"


def _write(sections: list[str], given: argparse.Namespace) -> None:
    lines = [
        "# Backward rules and standard noise-aware training, three regimes",
        "",
        f"    python -m benchmarks.rules --data-dir DIR --limit {given.limit} "
        f"--epochs {given.epochs} --seeds {given.seeds} --chips {given.chips}"
        f"{' --cifar' if given.cifar else ''}",
        "",
        f"{_TASKS[given.cifar]}, {given.limit:,} training images, {given.epochs} epochs, all "
        f"10,000 test images on {given.chips} unseen chips: accuracy in %, mean ± standard error "
        "(worst chip). Noise is a factor on the regime's own.",
        *sections,
        "",
        versions(),
        "",
    ]
    write_text(HERE / "results" / f"{_name(given)}.md", "\n".join(lines))


def _worse_standards(outcomes: list[Outcome]) -> list[str]:
    """All standard trainings but the best: more curves than colors cannot be distinguished."""
    at = AXIS.values.index(1.0)
    standards = [o for o in outcomes if o.arm.name.startswith("standard")]
    standards.sort(key=lambda outcome: outcome.points[at].mean)
    return [outcome.arm.name for outcome in standards[:-1]]


def _verdict(outcomes: list[Outcome]) -> str:
    """The best rule against the best training without the device, at the regime's own noise."""
    at = AXIS.values.index(1.0)
    points = {outcome.arm.name: outcome.points[at] for outcome in outcomes}
    rule = max((n for n in points if n.startswith("rule")), key=lambda n: points[n].mean)
    others = [n for n in points if not n.startswith("rule")]
    best = max(others, key=lambda n: points[n].mean)
    standard = max((n for n in others if n.startswith("standard")), key=lambda n: points[n].mean)
    named = [f"the best standard training ({standard})"]
    if best != standard:
        named.append(f"{best} training, which beats all of these")
    differences = " and ".join(
        f"{_ahead(points[rule], points[n])} points from {text}"
        for n, text in zip((standard, best), named, strict=False)
    )
    return f"At the regime's own noise the best rule ({rule}) is {differences}."


def _ahead(ours: Summary, theirs: Summary) -> str:
    gap = 100 * (ours.mean - theirs.mean)
    error = 100 * math.hypot(ours.standard_error, theirs.standard_error)
    return f"{gap:+.2f} ± {error:.2f}"


if __name__ == "__main__":
    main()
