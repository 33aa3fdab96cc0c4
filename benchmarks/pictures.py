"""Create the pictures of the user guide.

    python -m benchmarks.pictures [--folder runs/pictures] [--out docs/images]

Runs the commands that the guide shows with each picture, on the handwritten digits of scikit-learn.
This takes ten minutes on one thread. Finished trainings and trials are kept in the folder, so the
same command resumes. The pictures of README are made by ``make demo``.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from benchmarks.command_line import run_cimsim
from cimsim.files import make_folder

IMAGES = Path(__file__).parents[1] / "docs" / "images"
TRAININGS = {
    "digital": "--model mlp --method digital --epochs 30 --lr 0.003",
    "cnn": "--model cnn --method noise-aware --noise 4 --epochs 20 --lr 0.003",
    "mlp": "--epochs 20",
}
# The file of each picture below its folder, and the command that makes it.
PICTURES = {
    "map": (
        "digital/maps/noise-by-adc.bits/*.png",
        "map {digital} --x noise=0,1,2,4,6,8 --y adc.bits=ideal,8,6,5,4 --chips 5",
    ),
    "budget": ("digital/budget/budget_*.png", "budget {digital} --noise 6 --age 1y"),
    "waterfall": (
        "digital/budget/waterfall_*.png",
        "budget {digital} --waterfall --noise 6 --age 1y",
    ),
    "sensitivity": ("digital/sensitivity/*.png", "sensitivity {digital} --noise 8"),
    "cost": ("cnn/cost/*.png", "cost {cnn}"),
    "life": ("cnn/life/*.png", "life {cnn} --noise 4 --chips 4 --points 7"),
    "explore": (
        "mlp/explore/*.png",
        "explore {mlp} --profile pcm-hermes-2023 --profile pcm-ibm-2020 --over adc.bits=4,5,6,8 "
        "--over array.rows=32,64,128 --chips 3",
    ),
    "compare": (
        "all/*.png",
        "compare --profile pcm-ibm-2020 --data digits --model mlp --epochs 30 --lr 0.003 --noise 4 "
        "--seeds 0,1,2 --methods digital,standard-nat,noise-aware,noise-aware+rule=C,robust "
        "--over noise=0:8:2 --out {all}",
    ),
}


def main() -> None:
    """Train, run the commands, and copy the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("runs/pictures"))
    parser.add_argument("--out", type=Path, default=IMAGES)
    given = parser.parse_args()
    folders = {name: given.folder / name for name in (*TRAININGS, "all")}
    make_folder(given.out)
    for name, settings in TRAININGS.items():
        if not (folders[name] / "result.json").exists():
            start = "train --profile pcm-ibm-2020 --data digits"
            run_cimsim(*f"{start} {settings} --out".split(), str(folders[name]))
    for name, (file, command) in PICTURES.items():
        run_cimsim(*(word.format_map(folders) for word in command.split()))
        (picture,) = given.folder.glob(file)
        shutil.copyfile(picture, given.out / f"{name}.png")


if __name__ == "__main__":
    main()
