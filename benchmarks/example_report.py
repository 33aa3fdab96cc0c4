"""Create the example report of the documentation.

    python -m benchmarks.example_report [--folder runs/example] [--out FILE]

Trains a CNN on 8x8 images of handwritten digits (which come with scikit-learn), digitally and with
the recipe ``robust``; runs every study; and writes ``docs/example_report.html``. This takes about
three minutes on one thread. Finished trainings and trials are kept in the folder, so the same
command resumes.
"""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from benchmarks.command_line import run_cimsim

PAGE = Path(__file__).parents[1] / "docs" / "example_report.html"
TITLE = "A digit classifier on a phase-change chip"
START = "train --profile pcm-ibm-2020 --data digits --model cnn"
TRAININGS = {
    "digital": "--method digital --epochs 20",
    "robust": "--recipe robust --epochs 30",
}
FOR_BOTH = (
    "tolerance RUN --over noise --to 8 --chips 10",
    "sweep RUN --over noise=0:6:1 --chips 10",  # after the search, which is a sweep, too
    "sweep RUN --over time=1s,1h,1d,30d,1y --chips 10",
    "cost RUN",
)
STUDIES = {
    "digital": FOR_BOTH,
    "robust": (
        *FOR_BOTH,
        "map RUN --x noise=0:6:2 --y adc.bits=8,6,5,4 --chips 3",
        "budget RUN --age 1y --noise 3 --chips 10",
        "budget RUN --age 1y --noise 3 --chips 10 --waterfall",
        "budget RUN --age 1y --noise 3 --chips 10 --shapley",
        "sensitivity RUN --noise 3 --chips 10",
        "advise RUN --noise 3 --bits 2 --chips 5",
        "life RUN --points 5 --chips 5",
        "yield RUN --above 90 --noise 2 --chips 50",
        "explore RUN --over adc.bits=4,6,8 --over array.rows=128,256 --cost energy --budget 24 "
        "--chips 2 --final-chips 5",
    ),
}


def main() -> None:
    """Train, run the studies, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("runs/example"))
    parser.add_argument("--out", type=Path, default=PAGE)
    given = parser.parse_args()
    runs = {name: given.folder / name for name in TRAININGS}
    for name, run in runs.items():
        if not (run / "result.json").exists():
            run_cimsim(*shlex.split(f"{START} {TRAININGS[name]}"), "--out", str(run))
    for name, studies in STUDIES.items():
        for study in studies:
            run_cimsim(*shlex.split(study.replace("RUN", shlex.quote(str(runs[name])))))
    run_cimsim("report", *map(str, runs.values()), "--title", TITLE, "--out", str(given.out))


if __name__ == "__main__":
    main()
