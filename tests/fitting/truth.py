"""Measurements whose truth is known."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

_Number = TypeVar("_Number", float, NDArray[np.float64])
TARGETS = (2.0, 8.0, 16.0, 25.0)
TIMES = (1.0, 3600.0, 86400.0)


def bias(g: float) -> float:
    return 0.2 - 0.01 * g


def sigma(g: float) -> float:
    return 0.3 + 0.03 * g


def shift(g: float, time: float) -> float:
    return -0.004 * g * float(np.log(time))


def drift_sigma(g: float, time: float) -> float:
    return (0.02 + 0.003 * g) * float(np.sqrt(np.log(max(time, 1.0))))


def read_sigma(g: _Number) -> _Number:
    return 0.05 + 0.01 * g


def rows(seed: int, cells: int = 100, reads: int = 4) -> NDArray[np.float64]:
    """``[rows, 5]``: target, measured, time, cell, read."""
    rng = np.random.default_rng(seed)
    found = []
    for index, g in enumerate(TARGETS):
        written = g + bias(g) + sigma(g) * rng.normal(size=cells)
        spread = rng.normal(size=cells)  # one cell goes its own way, further with time
        for time in TIMES:
            now = written + shift(g, time) + drift_sigma(g, time) * spread
            at = (g, time, index * cells)
            found += [_read(rng, now, read_sigma(g), *at, read) for read in range(reads)]
    return np.concatenate(found)


def write(path: Path, table: NDArray[np.float64], columns: str = "tmtcr") -> Path:
    """As a CSV file; ``columns`` says which of target, measured, time, cell, read are there."""
    chosen = {"tmt": [0, 1, 2], "tmtc": [0, 1, 2, 3], "tmtcr": [0, 1, 2, 3, 4]}[columns]
    names = np.array(["g_target_uS", "g_measured_uS", "time_s", "cell", "read"])[chosen]
    lines = [",".join(names)]
    lines += [",".join(f"{value:.9g}" for value in row[chosen]) for row in table]
    path.write_text("\n".join(lines) + "\n")
    return path


def proportional(seed: int, cells: int = 100, reads: int = 4) -> NDArray[np.float64]:
    """As :func:`rows`, with a power law that scales the whole conductance, errors included."""
    rng = np.random.default_rng(seed)
    found = []
    for index, g in enumerate(TARGETS):
        written = g + sigma(g) * rng.normal(size=cells)
        exponent = 0.04 + 0.01 * rng.normal(size=cells)
        for time in TIMES:
            now = written * time**-exponent
            at = (g, time, index * cells)
            found += [_read(rng, now, read_sigma(now), *at, read) for read in range(reads)]
    return np.concatenate(found)


def _read(
    rng: np.random.Generator,
    now: NDArray[np.float64],
    sigma: float | NDArray[np.float64],
    target: float,
    time: float,
    first_cell: int,
    read: int,
) -> NDArray[np.float64]:
    """One read of each cell, with a row for each."""
    cells = len(now)
    values = now + sigma * rng.normal(size=cells)
    names = first_cell + np.arange(cells)
    columns = (np.full(cells, target), values, np.full(cells, time), names)
    return np.stack((*columns, np.full(cells, float(read))), axis=1)
