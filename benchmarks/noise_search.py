"""The search of ``--noise auto``: its choices, and how far they are behind the best candidate.

    python -m benchmarks.noise_search --data-dir DIR [--task digits-mlp ...] [--profile ...]
        [--seeds 0,1,2] [--runs runs/noise_search]

:mod:`benchmarks.default` trains every candidate in full and evaluates it on test data. Here the
search chooses between them with its own short trainings, on held-out training data and other chips,
for four conditions: the noise of the profile and four times as much, on new and on year-old chips.
Finished results are kept, so the same command resumes.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from benchmarks.default import COMPARISON
from benchmarks.fair import Condition, Scores, Where, name_of, today
from benchmarks.fair_page import RESULTS, distinct_conditions
from benchmarks.lines import versions
from cimsim.analysis import summary
from cimsim.analysis.table import table_csv
from cimsim.files import append_line, write_text
from cimsim.runs import search
from cimsim.training.candidates import CANDIDATES
from cimsim.training.config import make_config
from cimsim.training.data import TEST

SCORES, PAGE = "noise_search.csv", "noise_search.md"
METHOD = "noise auto"
CONDITIONS: dict[str, Condition] = {
    "1@1s": ("1 s", 1.0),
    "4@1s": ("1 s", 4.0),
    "1@1y": ("1 year", 1.0),
    "4@1y": ("1 year", 4.0),
}
SETTINGS = dict(zip(CANDIDATES, map(name_of, COMPARISON.methods[METHOD]), strict=True))
"""Name of the settings of each candidate in the scores of the comparison."""


class Choice(NamedTuple):
    """What one search chose."""

    task: str
    profile: str
    optimize_for: str
    seed: int
    chosen: str
    seconds: float
    day: str


def main() -> None:
    """Search, tabulate, as the command line says."""
    parser = argparse.ArgumentParser(description="What the search of --noise auto chooses.")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--task", action="append", choices=COMPARISON.tasks)
    parser.add_argument("--profile", action="append", choices=COMPARISON.profiles)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--runs", type=Path, default=Path("runs") / "noise_search")
    given = parser.parse_args()
    for task in given.task or COMPARISON.tasks:
        for profile in given.profile or COMPARISON.profiles:
            for seed in map(int, given.seeds.split(",")):
                known = {choice[:4] for choice in choices(RESULTS)}
                apart = [*distinct_conditions(Scores(COMPARISON, RESULTS), (task, profile))]
                for optimize_for, condition in CONDITIONS.items():
                    is_known = (task, profile, optimize_for, seed) in known
                    if condition in apart and not is_known:
                        measure((task, profile), optimize_for, seed, given.data_dir, given.runs)
    print(report(RESULTS))


def measure(where: Where, optimize_for: str, seed: int, data_dir: Path, runs: Path) -> None:
    """Search once, and append what was chosen to the results."""
    common = COMPARISON.common(*where, seed, data_dir)
    config = make_config(**{**common, "noise": "auto", "optimize_for": optimize_for})
    folder = runs / "/".join(where) / optimize_for / f"seed-{seed}"
    begin = time.perf_counter()
    found = search(config, folder, resume=True, trust=True)
    row = Choice(
        *where, optimize_for, seed, found.chosen, round(time.perf_counter() - begin, 1), today()
    )
    print(*row, flush=True)
    file = RESULTS / SCORES
    rows: list[Sequence[object]] = [row] if file.exists() else [Choice._fields, row]
    append_line(file, table_csv(rows).rstrip())


def choices(results: Path) -> list[Choice]:
    """All choices so far."""
    file = results / SCORES
    if not file.exists():
        return []
    with file.open(encoding="utf-8", newline="") as text:
        kinds = (str, str, str, int, str, float, str)
        rows = list(csv.reader(text))[1:]
    return [Choice._make(kind(cell) for kind, cell in zip(kinds, row, strict=True)) for row in rows]


class Line(NamedTuple):
    """One task, profile and condition: the candidate that each seed chose, and test scores."""

    where: Where
    optimize_for: str
    chosen: list[str]
    of_choice: list[float]  # for each seed
    of_default: list[float]
    of_best: list[float]  # of the candidate that is best on the test data, for all seeds
    seconds: float


def lines(results: Path) -> Iterator[Line]:
    """Yield the lines of all searches whose candidates are all evaluated."""
    scores, found = Scores(COMPARISON, results), choices(results)
    keys = list(dict.fromkeys(((one.task, one.profile), one.optimize_for) for one in found))
    for where, optimize_for in keys:
        evaluated = scores.seeds(where, METHOD)
        own = [
            one
            for one in found
            if ((one.task, one.profile), one.optimize_for) == (where, optimize_for)
            and one.seed in evaluated
        ]
        if not own:
            continue
        own.sort(key=lambda one: one.seed)
        seeds, condition = [one.seed for one in own], CONDITIONS[optimize_for]
        by_candidate = {
            candidate: scores.means(where, settings, TEST, condition, seeds)
            for candidate, settings in SETTINGS.items()
        }
        sign = COMPARISON.tasks[where[0]].sign
        best = max(by_candidate.values(), key=lambda each: sign * sum(each.values()))
        yield Line(
            where,
            optimize_for,
            [one.chosen for one in own],
            [by_candidate[one.chosen][one.seed] for one in own],
            list(by_candidate[next(iter(CANDIDATES))].values()),
            list(best.values()),
            sum(one.seconds for one in own) / len(own),
        )


def report(results: Path) -> str:
    """Write the page of the choices in ``results``, and return it."""
    found = list(lines(results))
    page = [
        "# The search of `--noise auto`",
        "",
        "    python -m benchmarks.noise_search --data-dir DIR",
        "",
        "The search runs once for each training seed. It trains the candidates briefly and "
        "chooses one by its score on held-out training data. The table shows test scores of "
        "[full trainings](default.md), averaged over chips and seeds: *choice* is the candidate "
        "that the search chose, *default* the first candidate (`cimsim train` without options), "
        "and *best* the candidate with the best test score, which is not available to a search. "
        "*lost* is the difference between best and choice, with its standard error over the "
        "seeds; *s* is the duration of a search in seconds, measured while other processes were "
        "running.",
        "",
        *summary_of(found),
        "",
        "| task | profile | `--optimize-for` | chosen | choice | default | best | lost | s |",
        "|---|---|---|---|---|---|---|---|---|",
        *map(row_of, found),
        "",
        versions(),
        "",
    ]
    text = "\n".join(page)
    write_text(results / PAGE, text)
    return text


def lost_by(line: Line) -> list[float]:
    """For each seed, by how much the choice is worse than the best candidate."""
    sign = COMPARISON.tasks[line.where[0]].sign
    return [sign * (b - c) for b, c in zip(line.of_best, line.of_choice, strict=True)]


def _gained(line: Line) -> list[float]:
    sign = COMPARISON.tasks[line.where[0]].sign
    return [sign * (c - d) for c, d in zip(line.of_choice, line.of_default, strict=True)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def summary_of(found: Sequence[Line]) -> Iterator[str]:
    """State what the choices lose and gain, for accuracies and for perplexities."""
    for falls in (False, True):
        own = [line for line in found if COMPARISON.tasks[line.where[0]].falls is falls]
        if not own:
            continue
        unit = "of perplexity" if falls else "points of accuracy"
        factor = 1.0 if falls else 100.0
        lost = [factor * _mean(lost_by(line)) for line in own]
        gained = [factor * _mean(_gained(line)) for line in own]
        yield (
            f"- On average over {len(own)} conditions, the choice is {_mean(lost):.2f} {unit} "
            f"behind the best candidate (at most {max(lost):.2f}), and {_mean(gained):.2f} ahead "
            f"of the default (from {min(gained):+.2f} to {max(gained):+.2f})."
        )


def row_of(line: Line) -> str:
    """Return a row of the table."""
    task = COMPARISON.tasks[line.where[0]]
    lost = summary(None, lost_by(line))
    scores = (task.format(_mean(each)) for each in (line.of_choice, line.of_default, line.of_best))
    error = f" ± {task.format(lost.standard_error)}" if len(line.chosen) > 1 else ""
    return (
        f"| {line.where[0]} | {line.where[1]} | `{line.optimize_for}` | {', '.join(line.chosen)} | "
        f"{' | '.join(scores)} | {task.format(lost.mean)}{error} | {line.seconds:.0f} |"
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
