"""Shipped profiles, compared with the formulas of their papers: tests that pass.

    python -m benchmarks.papers.golden_devices

Runs ``tests/test_golden_devices.py``, which contains the formulas in plain Python.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from benchmarks.papers.record import Measured, Paper, Published, Row, Timer
from cimsim.profile import load_profile, profile_names

FILE = Path(__file__).parent.parent.parent / "tests" / "test_golden_devices.py"
OTHERS = "all devices"


class Counts:
    """A plugin of pytest that counts the tests of each device, and those that pass."""

    def __init__(self) -> None:
        self.all: Counter[str] = Counter()
        self.passed: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: Any) -> None:
        """One report for each phase of a test."""
        if report.when == "call":
            device = device_of(report.nodeid)
            self.all[device] += 1
            self.passed[device] += report.passed


def device_of(node: str) -> str:
    """The profile among the parameters of a test.

    >>> device_of("tests/test_golden_devices.py::test_what_a_chip_holds[0.25-pcm-ibm-2020]")
    'pcm-ibm-2020'
    """
    found = re.search(r"\[(.*)\]$", node)
    words = found.group(1) if found else ""
    return max((n for n in profile_names() if n in words), key=len, default=OTHERS)


def paper() -> Paper:
    """A row for each device."""
    timer, counts = Timer(), Counts()
    pytest.main([str(FILE), "-q", "-p", "no:cacheprovider"], plugins=[counts])
    rows = []
    for name in sorted(counts.all):
        where = "several" if name == OTHERS else ", ".join(load_profile(name).sources) or "textbook"
        rows.append(
            Row(
                name,
                f"`{name}`: tests that pass" if name != OTHERS else "other tests that pass",
                "",
                Published(counts.all[name], where),
                Measured(counts.passed[name]),
                "" if counts.all[name] == counts.passed[name] else "a test fails",
            )
        )
    return Paper(
        "golden_devices",
        "Shipped profiles",
        "`cimsim profiles show NAME` lists the sources of each profile.",
        "python -m benchmarks.papers.golden_devices",
        tuple(rows),
        (
            "Each row compares the number of tests (column *published*) with the number of tests "
            "that pass (column *cimsim*).",
        ),
        timer.seconds,
        tests=True,
    )


if __name__ == "__main__":
    paper().write()
