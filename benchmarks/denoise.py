"""A digital gain and offset behind each column: is it worth its multiplications?

    python -m benchmarks.denoise [--epochs 15] [--seeds 0,1,2,3,4] [--runs runs/denoise]

Digits and the small MLP on a device with a coarse, saturating converter and mild weight noise
(``benchmarks/devices/readout.yaml``): three ways to train, each without and with the ridge
regression of the digital answer on the column's output, evaluated on the same unseen chips.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.lines import Lines, versions
from cimsim.analysis.sweeps.axis import parse_axis
from cimsim.files import write_text
from cimsim.runs.compare import Arm, compare, markdown

HERE = Path(__file__).parent
AXIS = parse_axis("noise=0,0.5,1,2")
WAYS = {
    "digital": {"method": "digital"},
    "rule C": {"rule": "C", "noise": 1.0},
    "rule F": {"rule": "F", "noise": 1.0},
}
RIDGES = (0.0, 0.01, 0.1)


def main() -> None:
    """Train, evaluate, tabulate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, default=Path("runs/denoise"))
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--seeds", default="0,1,2,3,4")
    given = parser.parse_args()
    arms = [
        Arm(name if ridge is None else f"{name}, denoise {ridge:g}", {**way, "denoise": ridge})
        for name, way in WAYS.items()
        for ridge in (None, *RIDGES)
    ]
    outcomes = compare(
        arms,
        {
            "profile": str(HERE / "devices" / "readout.yaml"),
            "epochs": given.epochs,
            "lr": 0.003,
            "learn_ranges": (),
        },
        AXIS,
        out=given.runs,
        seeds=[int(seed) for seed in given.seeds.split(",")],
        watch=Lines,
    )
    lines = [
        "# Denoising of a column's output",
        "",
        f"    python -m benchmarks.denoise --epochs {given.epochs} --seeds {given.seeds}",
        "",
        "Digits, the small MLP, 4-bit ADC that saturates at the signal's spread, 5 % weight noise "
        f"(`readout.yaml`), {given.epochs} epochs. Accuracy in % on 10 unseen chips: mean ± "
        "standard error over seeds (or chips, the larger), worst chip in brackets. Noise is a "
        "factor on the device's own.",
        "",
        *markdown(outcomes, AXIS),
        "",
        versions(),
        "",
    ]
    write_text(HERE / "results" / "denoise.md", "\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
