"""Cases by number: the same seed, kind and number are the same files and the same check."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests.fuzz import measurements, profiles, runs
from tests.fuzz.judging import CPU_S, Verdict, judge


class Kind(NamedTuple):
    """What is damaged: writes a case into a folder, and checks the case in a folder; ``cpu_s`` is
    how long that may take."""

    write: Callable[[random.Random, Path], str]
    check: Callable[[random.Random, Path], str]
    cpu_s: float = CPU_S


KINDS = {
    "measurements": Kind(measurements.write_case, measurements.check_case),
    "profiles": Kind(profiles.write_case, profiles.check_case),
    "runs": Kind(runs.write_case, runs.check_case, 20.0),
}


@dataclass
class Tally:
    """How many cases of a kind ended how, and what crashed."""

    kind: str
    seed: int
    outcomes: Counter[str] = field(default_factory=Counter)
    crashes: list[tuple[int, str, Verdict]] = field(default_factory=list)
    last: str = ""

    def add(self, number: int, done: str, verdict: Verdict) -> None:
        """Count a case; a crash is printed at once, with how to see it again."""
        self.outcomes[verdict.outcome] += 1
        self.last = f"{done}: {verdict.outcome}: {verdict.detail}"
        if verdict.crashed:
            self.crashes.append((number, done, verdict))
            again = f"python -m tests.fuzz --kind {self.kind} --seed {self.seed} --case {number}"
            print(f"  {again}  # {done}: {verdict.detail}", flush=True)

    def __str__(self) -> str:
        counts = ", ".join(f"{n} {what}" for what, n in sorted(self.outcomes.items()))
        return f"{self.kind}: {self.outcomes.total()} cases, {counts}"


def run_case(kind: str, seed: int, number: int, keep: str | None = None) -> tuple[str, Verdict]:
    """Write and check one case; returns what was done, and what became of it."""
    rng = random.Random(f"{seed} {kind} {number}")
    with tempfile.TemporaryDirectory(prefix="cimsim-fuzz-") as place:
        folder = Path(place) / "case"
        folder.mkdir()
        done = KINDS[kind].write(rng, folder)
        if keep:
            shutil.copytree(folder, keep, symlinks=True)
        return done, judge(partial(KINDS[kind].check, rng, folder), KINDS[kind].cpu_s)


def run_cases(
    kind: str, seed: int, numbers: Sequence[int], workers: int = 1, keep: str | None = None
) -> Tally:
    """Try the cases of those numbers in so many processes."""
    tally = Tally(kind, seed)
    one = partial(run_case, kind, seed, keep=keep)
    run_case(kind, seed, 0)  # the first pays for imports and kernels
    if workers == 1:
        for number in numbers:
            tally.add(number, *one(number))
        return tally
    with ProcessPoolExecutor(workers) as pool:
        for number, found in zip(numbers, pool.map(one, numbers, chunksize=20), strict=True):
            tally.add(number, *found)
    return tally
