"""A digital gain and offset for each column: whether they are worth their multiplications.

    python -m benchmarks.denoise [--epochs 15] [--seeds 0,1,2,3,4] [--runs runs/denoise]

The small MLP on the digits, and a chip with a coarse, saturating converter and mild weight noise
(``benchmarks/devices/readout.yaml``): three ways to train, each without and with a ridge regression
of the digital result on the output of the column, evaluated on the same unseen chips.
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
        "# Denoising the outputs of columns",
        "",
        f"    python -m benchmarks.denoise --epochs {given.epochs} --seeds {given.seeds}",
        "",
        f"The small MLP is trained on the digits for {given.epochs} epochs. The chip has 5 % "
        "weight noise and a 4-bit ADC whose range is the root mean square of the signal "
        "(`readout.yaml`). *denoise* adds a digital gain and offset to each column, fitted by "
        "ridge regression of the digital result on the output of the column; the number is the "
        "ridge parameter. The table shows the accuracy in % on 10 chips that were not used in "
        "training: mean ± standard error over seeds or over chips, whichever is larger (worst "
        "chip). Noise is a factor on every noise of the profile.",
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
