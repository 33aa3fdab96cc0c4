"""Measurements of a long benchmark, kept in a CSV file, so that it can be resumed."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable
from pathlib import Path

from cimsim.files import write_text

Key = tuple[str, str, int, int]
"""Arm, quantity, training seed, chip; -1 for a quantity that has no chip."""
_HEAD = ("arm", "quantity", "seed", "chip", "value", "seconds")


class Trials:
    """Values by arm, quantity, seed and chip."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.values: dict[Key, float] = {}
        self.times: dict[Key, float] = {}
        if file.is_file():
            for row in csv.DictReader(io.StringIO(file.read_text(encoding="utf-8"))):
                key = (row["arm"], row["quantity"], int(row["seed"]), int(row["chip"]))
                self.values[key] = float(row["value"])
                self.times[key] = float(row["seconds"])

    def has(self, arm: str, quantity: str, seed: int, chip: int = -1) -> bool:
        """Whether a value is known."""
        return (arm, quantity, seed, chip) in self.values

    def add(
        self, arm: str, quantity: str, seed: int, chip: int, value: float, seconds: float
    ) -> None:
        """Keep a value."""
        key = (arm, quantity, seed, chip)
        self.values[key], self.times[key] = value, seconds
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(_HEAD)
        for each in sorted(self.values):
            writer.writerow([*each, f"{self.values[each]:.8g}", f"{self.times[each]:.2f}"])
        write_text(self.file, out.getvalue())
        print(f"{arm}, {quantity}, seed {seed}, chip {chip}: {value:.6g}", flush=True)

    def measure(
        self, arm: str, quantity: str, seed: int, chip: int, value: Callable[[], float]
    ) -> float:
        """The value, computed if it is not known."""
        if not self.has(arm, quantity, seed, chip):
            start = time.perf_counter()
            found = value()
            self.add(arm, quantity, seed, chip, found, time.perf_counter() - start)
        return self.values[(arm, quantity, seed, chip)]

    def groups(self, arm: str, quantity: str) -> list[list[float]]:
        """Values of all chips, one list for each training seed."""
        groups: dict[int, list[float]] = {}
        for (of, name, seed, _), value in sorted(self.values.items()):
            if (of, name) == (arm, quantity):
                groups.setdefault(seed, []).append(value)
        return list(groups.values())

    @property
    def seconds(self) -> float:
        """Time of all measurements together."""
        return sum(self.times.values())
