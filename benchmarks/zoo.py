"""Train the networks of :mod:`cimsim.models`, and evaluate them on chips.

    python -m benchmarks.zoo --data-dir DIR [--only NAME ...] [--chips 10] [--runs runs/zoo]

Each network is trained by ``cimsim train`` with the settings of ``RECIPES``, and evaluated on chips
of its profile that were not used in training: just programmed and after one day. Weights, profile,
card and hashes are written to ``cimsim/models/NAME/``. Finished results are kept, so the same
command resumes; the files of a shipped network are only replaced if its run is in the folder of
runs.
"""

from __future__ import annotations

import argparse
import shutil
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmarks.lines import Lines, versions
from cimsim import analysis
from cimsim.files import make_folder, sha256_of, write_text
from cimsim.models.cards import Card, ChipScore, read_card
from cimsim.runs import RunSubject
from cimsim.training.config import make_config
from cimsim.training.environment import environment
from cimsim.training.fit import fit
from cimsim.training.manifest import write_sums
from cimsim.training.run import MODEL, PROFILE, Run
from cimsim.training.trained_networks import CARD, FOLDER

RESULT = Path(__file__).parent / "results" / "zoo.md"
PROFILE_NAME = "pcm-ibm-2020"
AXIS = analysis.parse_axis("time=0s,1d")
AGES = ("just programmed", "after one day")

# How each differs from the defaults of `cimsim train`; all are noise-aware with rule F, and with
# calibrated ranges.
RECIPES: dict[str, dict[str, Any]] = {
    "digits-mlp": {"data": "digits", "model": "mlp", "epochs": 30, "lr": 0.003},
    "fashion-mnist-mlp": {"data": "fashion-mnist", "model": "mlp", "epochs": 6},
    "fashion-mnist-cnn": {"data": "fashion-mnist", "model": "cnn", "epochs": 3},
    "spoken-digits-lstm": {"data": "fsdd", "model": "lstm", "epochs": 20, "lr": 0.003},
}
LICENSES = {
    "digits": "CC BY 4.0 (UCI, Optical Recognition of Handwritten Digits)",
    "fashion-mnist": "MIT (Zalando SE)",
    "fsdd": "CC BY-SA 4.0 (Free Spoken Digit Dataset)",
}


def main() -> None:
    """Train, evaluate, write the folders and the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--only", action="append", choices=RECIPES, help="only this one")
    parser.add_argument("--chips", type=int, default=10)
    parser.add_argument("--runs", type=Path, default=Path("runs/zoo"))
    parser.add_argument("--out", type=Path, default=FOLDER)
    given = parser.parse_args()
    for name in given.only or RECIPES:
        common = {"profile": PROFILE_NAME, "data_dir": given.data_dir, "learn_ranges": ()}
        config = make_config(**common, **RECIPES[name])
        run = fit(config, given.runs / name, resume=True, progress=Lines(name, config))
        ship(run, given.chips, given.out / name)
    write_text(RESULT, page(given.out, given.chips))
    print(RESULT.read_text(encoding="utf-8"))


def ship(run: Run, chips: int, folder: Path) -> None:
    """Evaluate ``run`` on chips, and write weights, profile, card and hashes to ``folder``."""
    (swept,) = analysis.sweep([RunSubject(run)], AXIS, analysis.Evaluation(chips=chips))
    make_folder(folder)
    for file in (MODEL, PROFILE):
        shutil.copyfile(run.path / file, folder / file)
    found = environment()
    packages = {"cimsim": found["cimsim"], "Python": found["python"], **found["packages"]}
    trained = datetime.fromtimestamp((run.path / MODEL).stat().st_mtime, timezone.utc)
    card = Card(
        name=run.name,
        model=run.config.model,
        input_shape=run.data.input_shape,
        classes=run.data.classes,
        parameters=sum(p.numel() for p in run.new_model().parameters()),
        data=run.config.data,
        license=LICENSES[run.config.data],
        profile=run.profile.name,
        settings={k: v for k, v in RECIPES[run.name].items() if k not in ("data", "model")},
        command=f"python -m benchmarks.zoo --data-dir DIR --only {run.name}",
        digital=run.digital_accuracy,
        on_chips=tuple(
            scored(float(level or 0), values) for level, values in swept.values().items()
        ),
        trained=trained.date().isoformat(),
        versions={name: version for name, version in packages.items() if version},
    )
    write_text(folder / CARD, card.model_dump_json(indent=2) + "\n")
    write_sums(folder, {file: [sha256_of(folder / file)] for file in (MODEL, PROFILE, CARD)})


def scored(age_s: float, values: list[float]) -> ChipScore:
    """Summarize the accuracy on chips of one age."""
    of = analysis.summary(age_s, values)
    return ChipScore(
        age_s=age_s,
        chips=of.chips,
        mean=of.mean,
        standard_error=of.standard_error,
        worst=of.worst,
    )


def page(folder: Path, chips: int) -> str:
    """A page about all networks in ``folder``."""
    lines = [
        "# Trained networks",
        "",
        f"    python -m benchmarks.zoo --data-dir DIR --chips {chips}",
        "",
        f"The networks of `cimsim.models` are trained for `{PROFILE_NAME}` with seed 0. The table "
        f"shows the test accuracy in %: digital, and mean over {chips} chips (seeds from 0) that "
        "were not used in training ± standard error of the mean (worst chip).",
        "",
        f"| network | parameters | file | digital | {' | '.join(AGES)} | settings | trained |",
        f"|---|---|---|---|{'---|' * len(AGES)}---|---|",
    ]
    sums = []
    for path in sorted(folder.glob(f"*/{CARD}")):
        card = read_card(path)
        size = (path.parent / MODEL).stat().st_size
        cells = [
            f"{100 * s.mean:.2f} ± {100 * s.standard_error:.2f} ({100 * s.worst:.2f})"
            for s in card.on_chips
        ]
        settings = ", ".join(f"{name} {value}" for name, value in card.settings.items())
        lines.append(
            f"| `{card.name}` | {card.parameters:,} | {size / 1e6:.2f} MB "
            f"| {100 * card.digital:.2f} | {' | '.join(cells)} | {settings} | {card.trained} |"
        )
        sums.append(f"    {sha256_of(path.parent / MODEL)}  {card.name}/{MODEL}")
    return "\n".join([*lines, "", "SHA-256 of the weights:", "", *sums, "", versions(), ""])


if __name__ == "__main__":
    main()
