"""Sweep results on disk: one line per finished cell, safe against being killed at any moment.

``RUN/sweeps/<axis>/`` holds

* ``sweep.json``: what the last sweep on this axis asked for (:class:`Plan`),
* ``results.jsonl``: every cell ever finished on this axis, appended one by one; beside it
  ``results-1-of-4.jsonl`` of a sweep that was shared out, one file for each part,
* ``results.csv``: the cells of the last sweep, once all of them are there.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, TypeAlias

from pydantic import TypeAdapter

from cimsim.analysis.levels import Axis, Level
from cimsim.analysis.metric import ACCURACY, Metric, metric_named
from cimsim.analysis.table import table_csv
from cimsim.errors import CimsimError
from cimsim.reading import parse_json, read_bytes, read_text
from cimsim.sealing import sealed, unsealed
from cimsim.training.files import lock, make_folder, open_log, write_text

Key: TypeAlias = tuple[str, Level, int]
"""What makes a cell unique: its basis, its level, its chip."""

Shard: TypeAlias = tuple[int, int]
"""The i-th of n parts of a sweep, from 1."""

WHOLE: Shard = (1, 1)
PLAN = "sweep.json"


@dataclass(frozen=True)
class Trial:
    """One evaluation: one run at one level on one chip.

    Attributes:
        basis: hash of all that decides the result beside level and chip (see :class:`Plan`).
        level: the level; seconds on the time axis, ``None`` for an ideal converter.
        chip: seed of the chip.
        accuracy: share of right answers on the test data, 0 to 1.
        loss: mean test loss; NaN or infinite where the chip's outputs are.
    """

    basis: str
    level: Level
    chip: int
    accuracy: float
    loss: float

    @property
    def key(self) -> Key:
        """What makes this cell unique."""
        return (self.basis, self.level, self.chip)


@dataclass(frozen=True)
class Plan:
    """What one sweep of one run asks for, and the circumstances its cells depend on.

    Attributes:
        basis: hash of checkpoint, resolved profile (and those of layers with their own), axis, test
            data, device, cimsim version and age; only cells of the same basis belong together.
        chips: number of chips; their seeds are consecutive.
        digital_accuracy: accuracy on the same test data without any device, 0 to 1.
        age_s: age of the chips; 0 on the time axis, whose levels are ages.
        digital_loss: the loss without any device.
        metric, token: what is shown, see :func:`cimsim.analysis.metric.metric_named`.
        first_chip: seed of the first chip.
        on: the name of the device, where it is not that of the run's training.
        layers: other devices of some layers, as they are typed.
    """

    run: str
    profile: str
    axis: str
    levels: tuple[Level, ...]
    chips: int
    digital_accuracy: float
    basis: str
    checkpoint_sha256: str
    data: str
    device: str
    cimsim: str
    age_s: float = 0.0
    digital_loss: float | None = None
    metric: str = ACCURACY.name
    token: str = ""
    first_chip: int = 0
    on: str | None = None
    layers: tuple[str, ...] = ()

    @property
    def measured(self) -> Metric:
        """What is looked at of the results, all of which are kept."""
        return metric_named(self.metric, self.token)

    @property
    def digital(self) -> float:
        """The metric without any device; NaN where an old sweep did not keep it."""
        loss = math.nan if self.digital_loss is None else self.digital_loss
        return self.measured.of(self.digital_accuracy, loss)

    def keys(self) -> Iterator[Key]:
        """The key of every cell asked for, level by level."""
        chips = range(self.first_chip, self.first_chip + self.chips)
        return ((self.basis, level, chip) for level in self.levels for chip in chips)


@dataclass(frozen=True)
class Sweep:
    """A plan and those of its cells that are finished, in the plan's order."""

    plan: Plan
    cells: tuple[Trial, ...]

    @property
    def missing(self) -> int:
        """How many cells of the plan are not finished."""
        return len(self.plan.levels) * self.plan.chips - len(self.cells)

    def _repr_html_(self) -> str:
        """What a notebook shows: the figure, and its numbers."""
        from cimsim.analysis.notebook import sweep_html  # draws what this file only keeps

        return sweep_html(self)


_SYNC_S = 1.0

STUDIES = ("budget", "life", "maps", "yield", "sensitivity", "advice", "explore")
BUDGET, LIFE, MAPS, YIELD, SENSITIVITY, ADVICE, EXPLORE = STUDIES
"""What a study's axis is called, up to the first slash: its levels are devices, pairs or the like,
so that it is none that could be drawn over."""


def sweep_folder(run: Path, axis: str) -> Path:
    """Where the results of the run in the folder ``run`` on one axis lie."""
    return run / axis if is_study(axis) else run / "sweeps" / axis


def is_study(axis: str) -> bool:
    """Whether the levels of ``axis`` are those of a study, see :data:`STUDIES`."""
    return axis.partition("/")[0] in STUDIES


def swept_axes(run: Path) -> list[str]:
    """The axes over which the run in the folder ``run`` was swept, sorted."""
    return sorted(plan.parent.name for plan in (run / "sweeps").glob(f"*/{PLAN}"))


def read_sweep(folder: Path) -> Sweep:
    """The last sweep in ``folder`` as far as it is finished; changes nothing on disk.

    Raises:
        CimsimError: if there is none, or its files are damaged.
    """
    plan = _read_plan(folder / PLAN)
    return _select(plan, _read_all(folder))


def _read_all(folder: Path) -> dict[Key, Trial]:
    """The cells of all parts; a line that is being written is left out."""
    cells: dict[Key, Trial] = {}
    for path in sorted(folder.glob("results*.jsonl")):
        try:
            lines = read_bytes(path)
        except OSError as error:
            raise CimsimError(f"{path}: cannot be read ({error.strerror})") from None
        cells |= _parse(lines[: lines.rfind(b"\n") + 1], path)
    return cells


class Store:
    """The open results of one run on one axis: read once, then appended to by one process only."""

    def __init__(self, folder: Path, plan: Plan, shard: Shard = WHOLE) -> None:
        """Open ``folder`` for the sweep ``plan``; a line torn by a killed process is cut off.

        Each ``shard`` of a sweep that is shared out has a file of its own.

        Raises:
            CimsimError: if another process writes there, or files are damaged or not writable.
        """
        self._folder, self._plan = folder, plan
        self._on_disk_s = time.monotonic()
        part = "" if shard == WHOLE else f"-{shard[0]}-of-{shard[1]}"
        path = folder / f"results{part}.jsonl"
        make_folder(folder)
        self._file = open_log(path)
        try:
            lock(
                self._file,
                f"{path}: another `cimsim sweep` is writing to it; wait until it ends, or stop it",
            )
            own = _parse(_cut_torn_line(self._file), path)
            self._cells = _read_all(folder) | own
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(OSError):  # whatever ended the sweep is told, not this
            os.fsync(self._file.fileno())
        self._file.close()

    def __contains__(self, key: Key) -> bool:
        return key in self._cells

    def start(self) -> None:
        """Record that this plan is now the last sweep on the axis."""
        write_text(self._folder / PLAN, json.dumps(sealed(asdict(self._plan)), indent=2) + "\n")

    def append(self, cell: Trial) -> None:
        """Keep one finished cell.

        When this returns it survives the end of this process, and a second later, or when the
        store is closed, that of the machine: to wait for the disk takes longer than a small cell.

        Raises:
            CimsimError: if the disk is full or has failed.
        """
        row = {"run": self._plan.run, "axis": self._plan.axis, **asdict(cell)}
        row["loss"] = cell.loss if math.isfinite(cell.loss) else str(cell.loss)
        try:
            self._file.write(json.dumps(sealed(row), allow_nan=False).encode() + b"\n")
            self._file.flush()
            if time.monotonic() > self._on_disk_s + _SYNC_S:
                os.fsync(self._file.fileno())
                self._on_disk_s = time.monotonic()
        except OSError as error:
            raise CimsimError(
                f"{self._folder}: cannot write results there ({error.strerror}); when that is "
                "mended, the same `cimsim sweep` goes on where it stopped"
            ) from None
        self._cells[cell.key] = cell

    def finish(self) -> Sweep:
        """The plan with its cells; also writes ``results.csv`` when none is missing."""
        sweep = _select(self._plan, _read_all(self._folder) | self._cells)
        if not sweep.missing:
            write_csv(self._folder / "results.csv", [sweep])
        return sweep


def write_csv(path: Path, sweeps: Sequence[Sweep], names: Sequence[str] | None = None) -> None:
    """Replace ``path`` by :func:`cells_csv` at once."""
    write_text(path, cells_csv(sweeps, names))


def cells_csv(sweeps: Sequence[Sweep], names: Sequence[str] | None = None) -> str:
    """One long table of all cells; ``names`` stand for the runs' own names."""
    return table_csv(_rows(sweeps, names))


def _rows(sweeps: Sequence[Sweep], names: Sequence[str] | None) -> Iterator[Sequence[object]]:
    yield "run profile axis unit level chip accuracy loss digital_accuracy".split()
    for name, sweep in zip(names or [s.plan.run for s in sweeps], sweeps, strict=True):
        plan, axis = sweep.plan, Axis(sweep.plan.axis, ())
        unit = "" if is_study(plan.axis) else "s" if plan.axis == "time" else axis.unit
        head = [name, plan.profile, plan.axis, unit]
        for cell in sweep.cells:
            level = axis.format(None) if cell.level is None else cell.level
            tail = [cell.chip, cell.accuracy, cell.loss, plan.digital_accuracy]
            yield [*head, level, *tail]


def _select(plan: Plan, cells: dict[Key, Trial]) -> Sweep:
    places = {level: place for place, level in enumerate(plan.levels)}
    seeds = range(plan.first_chip, plan.first_chip + plan.chips)
    found = [
        cell
        for cell in cells.values()
        if cell.basis == plan.basis and cell.level in places and cell.chip in seeds
    ]
    return Sweep(plan, tuple(sorted(found, key=lambda cell: (places[cell.level], cell.chip))))


def _read_plan(path: Path) -> Plan:
    try:
        fields = unsealed(parse_json(read_text(path)))
        return _checked(TypeAdapter(Plan).validate_python(fields))
    except FileNotFoundError:
        raise CimsimError(f"{path.parent}: holds no sweep") from None
    except OSError as error:
        raise CimsimError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, OverflowError):
        raise CimsimError(
            f"{path}: is damaged; delete it and run the same `cimsim sweep` again, "
            "finished cells are kept"
        ) from None


def _checked(plan: Plan) -> Plan:
    """``plan``, if a sweep can have asked for it.

    Raises:
        ValueError: if it cannot.
    """
    numbers = [level for level in plan.levels if isinstance(level, int | float)]
    in_words = len(numbers) < len(plan.levels)
    if (
        plan.chips < 1
        or not plan.levels
        or not all(math.isfinite(number) for number in (*numbers, plan.age_s, plan.first_chip))
        or not 0 <= plan.digital_accuracy <= 1
        or plan.age_s < 0
        or (plan.axis in ("time", "noise", "cycle") and (in_words or min(numbers) < 0))
    ):
        raise ValueError("no plan of a sweep")
    plan.measured  # noqa: B018  # refuses a metric that there is not
    return plan


def _parse(lines: bytes, path: Path) -> dict[Key, Trial]:
    cells = {}
    reader = TypeAdapter(Trial)
    for number, line in enumerate(lines.splitlines(), start=1):
        try:
            cell = reader.validate_python(unsealed(parse_json(line)))
            if not 0 <= cell.accuracy <= 1:
                raise ValueError("no accuracy")
            cells[cell.key] = cell
        except (ValueError, OverflowError):
            raise CimsimError(
                f"{path}:{number}: is not a result of a sweep; delete the line "
                "and run the same `cimsim sweep` again"
            ) from None
    return cells


def _cut_torn_line(file: IO[bytes]) -> bytes:
    """The whole lines of an open file; what follows the last of them is cut off on disk."""
    file.seek(0)
    lines = file.read()
    whole = lines[: lines.rfind(b"\n") + 1]
    if len(whole) < len(lines):
        file.truncate(len(whole))
    return whole
