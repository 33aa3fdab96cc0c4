"""Comparison of published numbers with numbers computed by cimsim.

A :class:`Paper` has a :class:`Row` for each published number. The difference of a row is measured
in standard errors,

    d = (cimsim - published) / sqrt(se_cimsim^2 + se_published^2),

and two numbers agree if ``|d| <= 2``. A row that does not agree must give a reason.
"""

from __future__ import annotations

import json
import math
import os
import platform
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmarks.lines import versions
from cimsim.files import write_text

RESULTS = Path(__file__).parent.parent / "results" / "papers"
UNBOUNDED = 1e9
"""Upper end of a range that has none."""
LIMIT = 2.0
"""Number of standard errors within which two numbers agree."""


@dataclass(frozen=True)
class Published:
    """A published number, or a range of numbers.

    Attributes:
        value: the number, or the lower end of the range.
        where: page, table or figure.
        standard_error: standard error of the number.
        basis: origin of the standard error.
        high: the upper end of a range.
    """

    value: float
    where: str
    standard_error: float = 0.0
    basis: str = ""
    high: float | None = None

    @classmethod
    def printed(cls, value: float, last_digit: float, where: str) -> Published:
        """A number known to its last printed digit: uniform within half of it, d / sqrt(12)."""
        return cls(value, where, last_digit / math.sqrt(12), f"printed to {last_digit:g}")

    @classmethod
    def over(cls, value: float, spread: float, count: int, where: str, of: str) -> Published:
        """A mean over ``count`` samples with the given standard deviation."""
        error = spread / math.sqrt(count)
        return cls(value, where, error, f"standard deviation {spread:g} over {count} {of}")

    @classmethod
    def one_draw(cls, value: float, spread: float, where: str, of: str = "chip") -> Published:
        """One sample, whose spread was not published; ``spread`` is taken from cimsim."""
        return cls(value, where, spread, f"one {of}; its spread is taken from cimsim")

    @property
    def text(self) -> str:
        """The number as text."""
        if self.high == UNBOUNDED:
            return f"at least {number(self.value)}"
        if self.high is not None:
            return f"{number(self.value)} to {number(self.high)}"
        if self.basis.startswith("printed"):
            return f"{self.value:g}"
        return spread_text(self.value, self.standard_error)


@dataclass(frozen=True)
class Measured:
    """A number that cimsim computed.

    Attributes:
        value: the number.
        standard_error: its standard error; 0 if the number is not random.
        count: number of samples; 0 if the error is not the error of a mean.
        of: kind of the samples, such as ``chips``, or the origin of the error.
    """

    value: float
    standard_error: float = 0.0
    count: int = 1
    of: str = ""

    @classmethod
    def mean(cls, values: Sequence[float], of: str) -> Measured:
        """The mean of independent samples."""
        count = len(values)
        average = sum(values) / count
        if count == 1:
            return cls(average, 0.0, 1, of)
        variance = sum((value - average) ** 2 for value in values) / (count - 1)
        return cls(average, math.sqrt(variance / count), count, of)

    @classmethod
    def mean_of_means(cls, groups: Sequence[Sequence[float]], of: str) -> Measured:
        """The mean over groups, such as trainings with several chips each; samples of a group are
        not independent, so the groups are counted.

        A few groups may be close by chance, so the error is at least that from the spread within
        the groups.
        """
        between = cls.mean([sum(group) / len(group) for group in groups], of)
        within = [cls.mean(group, of).standard_error for group in groups]
        least = math.hypot(*within) / len(groups)
        return cls(between.value, max(between.standard_error, least), between.count, of)

    @property
    def spread(self) -> float:
        """Standard deviation of a sample."""
        return self.standard_error * math.sqrt(self.count)

    @property
    def text(self) -> str:
        """The number as text."""
        text = spread_text(self.value, self.standard_error)
        words = f"{self.count} {self.of}" if self.count else self.of
        return f"{text} ({words})" if self.of else text


@dataclass(frozen=True)
class Row:
    """One published number and ours.

    Attributes:
        key: short name, unique within the paper.
        quantity: the quantity in words.
        unit: its unit; empty for a plain number.
        why: the reason of a difference, or a remark.
    """

    key: str
    quantity: str
    unit: str
    published: Published
    cimsim: Measured
    why: str = ""

    @property
    def difference(self) -> float:
        """The difference in standard errors; 0 within a published range."""
        apart = self.cimsim.value - self.published.value
        if self.published.high is not None:
            above = self.cimsim.value - self.published.high
            apart = above if above > 0 else min(apart, 0.0)
        error = math.hypot(self.cimsim.standard_error, self.published.standard_error)
        if error == 0:
            return 0.0 if apart == 0 else math.copysign(math.inf, apart)
        return apart / error

    @property
    def agrees(self) -> bool:
        """Whether the numbers are within two standard errors of each other."""
        return abs(self.difference) <= LIMIT

    @property
    def mark(self) -> str:
        """A check mark, or a cross."""
        return "✓" if self.agrees else "✗"


@dataclass(frozen=True)
class Paper:
    """A paper and all its rows.

    Attributes:
        name: name of the module and of the files of results.
        title: what is reproduced, in a few words.
        citation: authors, title, journal, year, identifier.
        command: the command that measures it.
        rows: the numbers.
        notes: paragraphs for readers, in Markdown.
        seconds: time of all measurements together.
        tests: whether the rows count tests of this project.
        date, machine, versions: when, where and with what it was measured.
    """

    name: str
    title: str
    citation: str
    command: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    tests: bool = False
    date: str = field(
        default_factory=lambda: datetime.now(timezone.utc).date().isoformat(),
    )
    machine: str = field(default_factory=lambda: machine())
    versions: str = field(default_factory=versions)

    def __post_init__(self) -> None:
        """Refuse a difference without a reason.

        Raises:
            ValueError: if a row neither agrees nor says why, or two rows have one key.
        """
        silent = [row.key for row in self.rows if not (row.agrees or row.why)]
        if silent:
            raise ValueError(f"{self.name}: no reason is given for {', '.join(silent)}")
        keys = [row.key for row in self.rows]
        if len(set(keys)) < len(keys):
            raise ValueError(f"{self.name}: two rows have the same key")

    def row(self, key: str) -> Row:
        """The row of that key."""
        return next(row for row in self.rows if row.key == key)

    def json(self) -> str:
        """The result as JSON; standard errors apart are included for readers, not read back."""
        content = asdict(self)
        for row, values in zip(self.rows, content["rows"], strict=True):
            apart = row.difference
            values["difference_in_standard_errors"] = apart if math.isfinite(apart) else None
            values["agrees"] = row.agrees
        return json.dumps(content, indent=1, ensure_ascii=False) + "\n"

    def page(self) -> str:
        """The page in Markdown, which ends in the table."""
        agree = sum(row.agrees for row in self.rows)
        lines = [
            f"# {self.title}",
            "",
            self.citation,
            "",
            f"    {self.command}",
            "",
            f"Measured on {self.date} in {self.seconds:.0f} s; {self.machine}; {self.versions}",
            f"{agree} of {len(self.rows)} numbers agree within two standard errors.",
            "",
        ]
        for note in self.notes:
            lines += [note, ""]
        return "\n".join([*lines, *table(self.rows), ""])

    def write(self, folder: Path = RESULTS) -> None:
        """Write the result and its page, and print the page."""
        write_text(folder / f"{self.name}.json", self.json())
        write_text(folder / f"{self.name}.md", self.page())
        print(self.page())


def table(rows: Iterable[Row]) -> list[str]:
    """The lines of the table of a paper."""
    lines = [
        "| | published | source | cimsim | difference in standard errors | agrees | reason or "
        "remark |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        unit = f" ({row.unit})" if row.unit else ""
        lines.append(
            f"| {row.quantity}{unit} | {row.published.text} | {row.published.where} "
            f"| {row.cimsim.text} | {difference_text(row)} | {row.mark} | {row.why} |"
        )
    return lines


def difference_text(row: Row) -> str:
    """The difference with its sign; ``in range`` if a range contains the number."""
    if row.published.high is not None and row.difference == 0:
        return "in range"
    if row.difference == 0:
        return "0"
    return f"{row.difference:+.1f}" if math.isfinite(row.difference) else "not random"


def number(value: float) -> str:
    """A number with four significant digits."""
    return f"{value:.4g}"


def spread_text(value: float, standard_error: float) -> str:
    """A number and its standard error, with two digits of the error."""
    if not standard_error:
        return number(value)
    digits = max(0, 1 - math.floor(math.log10(standard_error)))
    return f"{value:.{digits}f} ± {standard_error:.{digits}f}"


def read(file: Path) -> Paper:
    """The result that :meth:`Paper.write` wrote."""
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    rows = []
    for values in content.pop("rows"):
        del values["difference_in_standard_errors"], values["agrees"]
        published, cimsim = Published(**values.pop("published")), Measured(**values.pop("cimsim"))
        rows.append(Row(published=published, cimsim=cimsim, **values))
    content["notes"] = tuple(content["notes"])
    return Paper(rows=tuple(rows), **content)


def read_all(folder: Path = RESULTS) -> list[Paper]:
    """All results, in the order of their names."""
    return [read(file) for file in sorted(folder.glob("*.json"))]


def machine() -> str:
    """Processor and number of cores."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line for line in lines if line.startswith("model name")).partition(": ")[2]
    except (OSError, StopIteration):
        pass
    return f"{name}, {os.cpu_count()} cores"


class Timer:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self.start = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self.start
