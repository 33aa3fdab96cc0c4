"""Aged chips with stuck cells, before and after adaptation.

    python -m benchmarks.adapt --data-dir DIR [--limit 10000] [--chips 10] [--runs runs/adapt]

Trains the Fashion-MNIST CNN for PCM, and evaluates it one year after programming on chips with 5 %
stuck cells, half of them at each end of the range: without adaptation, after each part of an
adaptation alone, and after all parts together. Writes the table and the figure to
``benchmarks/results/``. Finished results are kept, so the same command resumes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.lines import Lines, versions
from cimsim.analysis import Evaluation, recovery
from cimsim.analysis.figures.canvas import save
from cimsim.analysis.shown import write_result
from cimsim.analysis.studies.adapt import Recovery
from cimsim.files import write_text
from cimsim.runs import RunSubject
from cimsim.training.config import make_config
from cimsim.training.fit import fit

RESULTS = Path(__file__).parent / "results"
AGE_S = 31_557_600.0
FAULTS = (
    "cell.faults=[{kind: stuck, at: g_min, rate: 0.025}, {kind: stuck, at: g_max, rate: 0.025}]"
)


def main() -> None:
    """Train, adapt, tabulate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=Path("runs/adapt"))
    parser.add_argument("--limit", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--chips", type=int, default=10)
    parser.add_argument("--budget", type=int, default=100)
    parser.add_argument("--samples", type=int, default=None)
    given = parser.parse_args()
    config = make_config(
        profile="pcm-ibm-2020",
        data="fashion-mnist",
        data_dir=given.data_dir,
        model="cnn",
        limit=given.limit,
        epochs=given.epochs,
        seed=given.seed,
    )
    folder = given.runs / f"cnn-{given.limit}-{given.seed}"
    subject = RunSubject(fit(config, folder, resume=True, progress=Lines("cnn", config)))
    evaluation = Evaluation(
        chips=given.chips,
        age_s=AGE_S,
        samples=given.samples,
        progress=lambda done, total, name: print(f"{done} of {total}: {name}", flush=True),
    )
    result = recovery(subject, evaluation, "all", budget=given.budget, overrides=(FAULTS,))
    write_result(folder, result)
    save(result.figure(), RESULTS / "adapt.png")
    text = _markdown(result, given, config.batch_size)
    write_text(RESULTS / "adapt.md", text)
    print(text)


def _markdown(result: Recovery, given: argparse.Namespace, batch: int) -> str:
    sheet, samples = result.sheet(), given.samples or "all 10,000"
    lines = [
        "# Adaptation to one chip: Fashion-MNIST CNN, 5 % stuck cells, one-year-old PCM",
        "",
        f"    python -m benchmarks.adapt --data-dir DIR --limit {given.limit} --epochs "
        f"{given.epochs} --seed {given.seed} --chips {given.chips} --budget {given.budget}"
        + ("" if given.samples is None else f" --samples {given.samples}"),
        "",
        f"The 493,642-parameter CNN is trained on {given.limit:,} images for {given.epochs} "
        f"epochs (seed {given.seed}). It runs on {given.chips} chips of `pcm-ibm-2020` with 2.5 % "
        "of all cells stuck at each end of the range, one year after programming and with global "
        f"drift compensation. The accuracy is measured on {samples} test images. Adaptation uses "
        f"batches of {batch} training images. ± is half of the 95 % confidence interval of the "
        "mean over chips (Student's t); gains are computed chip by chip. Each part starts from "
        "the same unadapted chip. The trained parts learn from the outputs of the digital model, "
        "without labels. *Vectors* is the number of input vectors that the arrays of all layers "
        "multiplied. *Added* and *changed* count digital numbers. All parts use their default "
        "settings, which were not tuned on this task. Other programs ran on the same processor, "
        "so the times are upper limits.",
        "",
        f"Accuracy of the digital network: {result.facts.measured.format(result.facts.digital)} %.",
        "",
        "| " + " | ".join(sheet.headings) + " |",
        "|---" * len(sheet.headings) + "|",
        *("| " + " | ".join(row) + " |" for row in sheet.rows),
        "",
        result.answer,
        "",
        versions(),
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
