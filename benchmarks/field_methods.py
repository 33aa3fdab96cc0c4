"""Published training methods, compared with plain training with the same noise, on the digits.

    python -m benchmarks.field_methods [--seeds 0,1,2] [--runs runs/field-methods]

Sharpness-aware minimization, negative feedback, percentiles over chips, right-censored noise and
learned ranges of the inputs. The setting of each method is the best of its ``GRID`` on held-out
training images, with other training seeds and other chips than in the report. Finished results are
kept, so the same command resumes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.lines import Lines, versions
from cimsim.analysis.sweeps.axis import parse_axis
from cimsim.analysis.sweeps.store import write_csv
from cimsim.files import write_text
from cimsim.nn import program
from cimsim.nn.scoring import evaluate
from cimsim.runs.compare import Arm, Outcome, compare, markdown
from cimsim.training.config import make_config
from cimsim.training.data import load_data
from cimsim.training.fit import fit

AXIS, CHIPS = parse_axis("noise=0,1,2,4"), 10
RESULTS = Path(__file__).parent / "results"
COMMON = {
    **{"profile": "pcm-ibm-2020", "data": "digits", "model": "mlp", "epochs": 6, "lr": 0.003},
    **{"noise": 2.0, "clip_sigma": 1.5, "learn_ranges": ()},  # of noise-aware training
}
TUNING_SEEDS, TUNING_CHIPS, TUNING_SAMPLES = (100, 101), range(1000, 1003), 1000

ALONE = "cross-entropy:weight=0"
STANDARD = {"method": "standard-nat", "clip_sigma": 2.5}
Grid = dict[str, dict[str, Any]]


def _sam(base: dict[str, Any], chips: str = "same") -> Grid:
    return {
        f"rho {rho:g}": {**base, "corrector": f"sam:rho={rho:g},chips={chips}"}
        for rho in (0.02, 0.1, 0.5)
    }


GRIDS: dict[str, Grid] = {
    "digital": {"": {"method": "digital"}},
    "digital, SAM": _sam({"method": "digital"}),
    "standard": {f"sigma {s:g}": {**STANDARD, "gaussian_sigma": s} for s in (0.038, 0.114)},
    "standard, right-censored": {
        f"sigma {s:g}, cutoff {cut:g}": {**STANDARD, "gaussian_sigma": s, "gaussian_cutoff": cut}
        for s in (0.038, 0.114)
        for cut in (0.5, 1.5)
    },
    "noise-aware": {f"noise {n:g}": {"noise": n} for n in (1.0, 2.0)},
    "noise-aware, noise 2": {"": {}},
    "noise-aware, SAM on the same chip": _sam({}),
    "noise-aware, SAM on another chip": _sam({}, "redrawn"),
    "noise-aware, percentile of 4 chips": {
        f"quantile {q:g}": {"objective": (f"percentile:quantile={q:g}", ALONE)} for q in (0.5, 1.0)
    },
    "noise-aware, negative feedback": {
        f"beta {b:g}": {"objective": (f"negative-feedback:beta={b:g}", ALONE)}
        for b in (0.001, 0.01)
    },
    "noise-aware, learned input ranges": {"": {"learn_ranges": ("dac",)}},
}

# A table of errors with the shape of a readout that saturates: no published table of a chip is
# public.
MEASURED = (
    "adc.errors=[{kind: measured, ideal_of_range: [-1, -0.5, 0, 0.5, 1], "
    "mean_error_of_range: [0.45, 0.12, 0, -0.12, -0.45], "
    "spread_of_range: [0.06, 0.04, 0.02, 0.04, 0.06]}]"
)
RULES = [
    Arm("digital", {"method": "digital"}),
    Arm("standard, sigma 0.038", {**STANDARD, "gaussian_sigma": 0.038}),
    Arm("chip, straight through the output (rule C)", {"rule": "C"}),
    Arm("chip, straight through, clipped (rule E)", {"rule": "E"}),
    Arm("chip, slope of the mean (rule F)", {"rule": "F"}),
]


def main() -> None:
    """Choose, train, sweep, tabulate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, default=Path("runs/field-methods"))
    parser.add_argument("--seeds", default="0,1,2")
    given = parser.parse_args()
    seeds = [int(seed) for seed in given.seeds.split(",")]
    chosen = {name: _best(name, grid, given.runs / "tuning") for name, grid in GRIDS.items()}
    arms = [Arm(f"{name} ({of})" if of else name, GRIDS[name][of]) for name, of in chosen.items()]
    outcomes = compare(
        arms, COMMON, AXIS, out=given.runs / "runs", chips=CHIPS, seeds=seeds, watch=Lines
    )
    bent = compare(
        RULES,
        {**COMMON, "overrides": (MEASURED,)},
        AXIS,
        out=given.runs / "measured",
        chips=CHIPS,
        seeds=seeds,
        watch=Lines,
    )
    sweeps = [sweep for outcome in outcomes for sweep in outcome.sweeps]
    names = [f"{o.arm.name}, seed {r.config.seed}" for o in outcomes for r in o.runs]
    write_csv(RESULTS / "field_methods.csv", sweeps, names)
    write_text(RESULTS / "field_methods.md", _markdown(outcomes, bent, seeds))
    print((RESULTS / "field_methods.md").read_text(encoding="utf-8"))


def _best(name: str, grid: Grid, out: Path) -> str:
    """Return the setting of ``grid`` with the best mean score over all levels of noise."""
    if len(grid) == 1:
        return next(iter(grid))
    scores = {of: _score(f"{name}, {of}", settings, out) for of, settings in grid.items()}
    for of, score in scores.items():
        print(f"tuning {name}, {of}: {100 * score:.2f} %", flush=True)
    return max(scores, key=scores.__getitem__)


def _score(name: str, settings: dict[str, Any], out: Path) -> float:
    """Return the mean accuracy on held-out training images, over noise, seeds and chips."""
    folder = out / "".join(c if c.isalnum() or c in "-.=" else "-" for c in name)
    kept = folder / "score.json"
    if kept.is_file():
        return float(json.loads(kept.read_text(encoding="utf-8"))["accuracy"])
    data, values = load_data(str(COMMON["data"]), None), []
    x, y = data.train_x[TUNING_SAMPLES:], data.train_y[TUNING_SAMPLES:]
    for seed in TUNING_SEEDS:
        config = make_config(**{**COMMON, **settings, "seed": seed, "limit": TUNING_SAMPLES})
        run = fit(config, folder / f"seed-{seed}", resume=True, progress=Lines(name, config))
        for level in AXIS.values:
            model = run.chip_model(run.profile.scale_noise(level))
            for chip in TUNING_CHIPS:
                program(model, chip)
                values.append(evaluate(model, x, y).accuracy)
    write_text(kept, json.dumps({"accuracy": float(np.mean(values))}))
    return float(np.mean(values))


def _markdown(outcomes: Sequence[Outcome], bent: Sequence[Outcome], seeds: Sequence[int]) -> str:
    return "\n".join(
        [
            "# Methods of the field, digits, PCM chip (`pcm-ibm-2020`)",
            "",
            f"    python -m benchmarks.field_methods --seeds {','.join(map(str, seeds))}",
            "",
            f"The table shows the test accuracy in % of an MLP on {CHIPS} chips that were not "
            f"used in training, with {len(seeds)} training seeds, {COMMON['epochs']} epochs, and "
            f"Adam with a learning rate of {COMMON['lr']:g}: mean ± standard error of the mean "
            "(worst chip). Noise is a factor on every noise of the profile; chips are newly "
            "programmed. The best mean of a column is bold. The setting in parentheses is the "
            "best of a small grid: it has the best mean accuracy over the four levels of noise "
            f"on {len(load_data(str(COMMON['data']), None).train_x) - TUNING_SAMPLES} held-out "
            "training images, with two other seeds and three other chips. *Standard* is Gaussian "
            "weight noise with clipping at 2.5 sigma. Noise-aware training uses noise 2 and "
            "clipping at 1.5 sigma, unless the table states another noise. The test set has 360 "
            "images, so differences below about one point are not significant.",
            "",
            *markdown(outcomes, AXIS),
            "",
            "A training step computes one forward and backward pass; SAM computes two, and the "
            "percentile and negative feedback compute four.",
            "",
            "## A readout with a table of errors",
            "",
            "The same comparison with the default settings of each method, on the same profile "
            "with an error of kind `measured` in its ADC. The mean error has the opposite sign "
            "of the result, and is 12 % of the range at half of the range and 45 % at the full "
            "range; the standard deviation is 2 to 6 % of the range. The values are made up, "
            "because no measured table is public.",
            "",
            *markdown(bent, AXIS),
            "",
            versions(),
            "",
        ]
    )


if __name__ == "__main__":
    main()
