"""Sweep results on disk: one line per finished trial, safe if the process is killed.

``RUN/sweeps/<axis>/`` holds

* ``sweep.json``: the :class:`Plan` of the last sweep on this axis,
* ``results.jsonl``: every trial ever finished on this axis, appended one by one; a sweep that is
  split into parts writes ``results-1-of-4.jsonl`` and so on,
* ``results.csv``: the trials of the last sweep, written when all of them are finished.

The trials of a study are kept in ``RUN/<study>/`` in the same way.
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
from typing import IO, TYPE_CHECKING, Any, TypeAlias

from pydantic import TypeAdapter

from cimsim.analysis.sweeps.axis import Axis, Level, is_quantity
from cimsim.analysis.sweeps.metric import ACCURACY, TEST, Metric, Scores, metric_named
from cimsim.analysis.table import table_csv
from cimsim.errors import CimsimError
from cimsim.files import lock, make_folder, open_log, write_text
from cimsim.reading import parse_json, read_bytes, read_text
from cimsim.sealing import sealed, unsealed

if TYPE_CHECKING:
    from cimsim.analysis.subjects import Subject

Key: TypeAlias = tuple[str, Level, int]
"""Basis, level and chip, which identify a trial."""

Shard: TypeAlias = tuple[int, int]
"""The i-th of n parts of a sweep, from 1."""

WHOLE: Shard = (1, 1)
PLAN = "sweep.json"
_CLASSIFIER = ("accuracy", "loss")  # scores that files hold under their own names


@dataclass(frozen=True)
class Trial:
    """One evaluation: one subject at one level on one chip.

    Attributes:
        basis: hash of everything that decides the result except level and chip (see
            :class:`Plan`).
        level: the level; seconds on the time axis, ``None`` for an ideal converter.
        chip: seed of the chip.
        scores: the scores by name, such as ``accuracy`` (0 to 1) and ``loss``; NaN or infinite
            where the chip's outputs are.
    """

    basis: str
    level: Level
    chip: int
    scores: dict[str, float]

    @property
    def key(self) -> Key:
        """Basis, level and chip."""
        return (self.basis, self.level, self.chip)


@dataclass(frozen=True)
class Plan:
    """The trials of one sweep of one subject, and everything that they depend on.

    Attributes:
        run: name of the subject.
        basis: hash of weights, resolved profile (and those of layers with their own), axis, test
            data, torch device, :func:`cimsim.computation.computed_by` and age; only trials of the
            same basis belong together.
        chips: number of chips; their seeds are consecutive.
        digital_scores: scores on the same test data without any non-ideality.
        checkpoint_sha256: hash of the weights.
        age_s: age of the chips; 0 on the time axis, whose levels are ages.
        metric, token: metric to show, see :func:`cimsim.analysis.sweeps.metric.metric_named`.
        first_chip: seed of the first chip.
        on: name of the profile, where it is not the subject's own.
        layers: other profiles of some layers, as options of the command line.
        noise: factor on every noise of the profile.
        samples: number of test samples; None for all.
        changes: values of the profiles that were changed from Python, where they are not the
            subject's own.
        split: the samples that are evaluated: ``test``, or ``held-out`` training data.
    """

    run: str
    profile: str
    axis: str
    levels: tuple[Level, ...]
    chips: int
    digital_scores: dict[str, float]
    basis: str
    checkpoint_sha256: str
    data: str
    device: str
    cimsim: str
    age_s: float = 0.0
    metric: str = ACCURACY.name
    token: str = ""
    first_chip: int = 0
    on: str | None = None
    layers: tuple[str, ...] = ()
    noise: float = 1.0
    samples: int | None = None
    changes: tuple[str, ...] = ()
    split: str = TEST

    @property
    def measured(self) -> Metric:
        """The metric to show; all scores are kept."""
        return metric_named(self.metric, self.token, split=self.split)

    @property
    def digital(self) -> float:
        """The metric without any non-ideality; NaN where an old sweep did not keep it."""
        return self.measured.of(self.digital_scores)

    def keys(self) -> Iterator[Key]:
        """The key of every trial, level by level."""
        chips = range(self.first_chip, self.first_chip + self.chips)
        return ((self.basis, level, chip) for level in self.levels for chip in chips)


@dataclass(frozen=True)
class Sweep:
    """A plan and its finished trials, in the plan's order."""

    plan: Plan
    trials: tuple[Trial, ...]

    @property
    def missing(self) -> int:
        """Number of trials of the plan that are not finished."""
        return len(self.plan.levels) * self.plan.chips - len(self.trials)

    def values(self) -> dict[Level, list[float]]:
        """The metric of every level's chips, in the order of their seeds."""
        levels: dict[Level, list[float]] = {level: [] for level in self.plan.levels}
        for trial in self.trials:
            levels[trial.level].append(self.plan.measured.of(trial.scores))
        return levels


_SYNC_S = 1.0


def sweep_folder(run: Path, axis: str) -> Path:
    """Folder of the trials on one axis of the subject that is kept in ``run``."""
    return run / "sweeps" / axis if is_quantity(axis) else run / axis


def swept_axes(run: Path) -> list[str]:
    """The axes over which the subject that is kept in ``run`` was swept, sorted."""
    return sorted(plan.parent.name for plan in (run / "sweeps").glob(f"*/{PLAN}"))


def read_sweep(folder: Path) -> Sweep:
    """Read the last sweep in ``folder`` as far as it is finished; changes nothing on disk.

    Raises:
        CimsimError: if there is none, or its files are damaged.
    """
    return _select(_read_plan(folder / PLAN), _read_all(folder))


def _read_all(folder: Path) -> dict[Key, Trial]:
    """The trials of all parts; a line that is being written is left out."""
    trials: dict[Key, Trial] = {}
    for path in sorted(folder.glob("results*.jsonl")):
        try:
            lines = read_bytes(path)
        except OSError as error:
            raise CimsimError(f"{path}: cannot be read ({error.strerror})") from None
        trials |= _parse(lines[: lines.rfind(b"\n") + 1], path)
    return trials


def open_store(subject: Subject, axis: str, plan: Plan, shard: Shard = WHOLE) -> Store:
    """Open the results of ``subject`` on ``axis``: in its folder, or in memory if it has none."""
    if subject.folder is None:
        return Store(plan, subject.memory.setdefault(axis, {}))
    return FileStore(sweep_folder(subject.folder, axis), plan, shard)


class Store:
    """The results of one subject on one axis, in memory.

    Attributes:
        place: where they are kept, for people.
        older: version of cimsim that has computed the last sweep there, if it is not that of the
            plan; empty otherwise.
    """

    def __init__(self, plan: Plan, trials: dict[Key, Trial]) -> None:
        self._plan, self._trials = plan, trials
        self.place, self.older = plan.run, ""

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def __contains__(self, key: Key) -> bool:
        return key in self._trials

    def scores(self, key: Key) -> Scores:
        """The scores of a finished trial."""
        return self._trials[key].scores

    def start(self) -> None:
        """Record that this plan is now the last sweep on the axis."""

    def append(self, trial: Trial) -> None:
        """Keep one finished trial."""
        self._trials[trial.key] = trial

    def finish(self) -> Sweep:
        """Return the plan with its trials."""
        return _select(self._plan, self._trials)


class FileStore(Store):
    """The results of one subject on one axis, in files that one process at a time appends to."""

    def __init__(self, folder: Path, plan: Plan, shard: Shard = WHOLE) -> None:
        """Open ``folder`` for the sweep ``plan``; an incomplete last line is cut off.

        Each ``shard`` of a split sweep has its own file.

        Raises:
            CimsimError: if another process writes there, or files are damaged or not writable.
        """
        self._folder = folder
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
            super().__init__(plan, _read_all(folder) | own)
            self.place, self.older = str(folder), _older_version(folder / PLAN, plan)
        except BaseException:
            self._file.close()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(OSError):  # report the error that ended the sweep, not this one
            os.fsync(self._file.fileno())
        self._file.close()

    def start(self) -> None:
        """Record that this plan is now the last sweep on the axis."""
        row = asdict(self._plan)
        row |= _scores_row(row.pop("digital_scores"), "digital_")
        write_text(self._folder / PLAN, json.dumps(sealed(row), indent=2) + "\n")

    def append(self, trial: Trial) -> None:
        """Write one finished trial.

        When this returns, the trial survives the end of this process; a second later, or when the
        store is closed, also a power cut. Waiting for the disk takes longer than a small trial.

        Raises:
            CimsimError: if the disk is full or has failed.
        """
        row = {"run": self._plan.run, "axis": self._plan.axis, **asdict(trial)}
        row |= _scores_row(row.pop("scores"))
        try:
            self._file.write(json.dumps(sealed(row), allow_nan=False).encode() + b"\n")
            self._file.flush()
            if time.monotonic() > self._on_disk_s + _SYNC_S:
                os.fsync(self._file.fileno())
                self._on_disk_s = time.monotonic()
        except OSError as error:
            raise CimsimError(
                f"{self._folder}: cannot write results there ({error.strerror}); when that is "
                "fixed, run the same `cimsim sweep` again to resume"
            ) from None
        super().append(trial)

    def finish(self) -> Sweep:
        """Return the plan with its trials; write ``results.csv`` if none is missing."""
        sweep = _select(self._plan, _read_all(self._folder) | self._trials)
        if not sweep.missing:
            write_csv(self._folder / "results.csv", [sweep])
        return sweep


def _scores_row(scores: dict[str, float], prefix: str = "") -> dict[str, Any]:
    """Scores as entries of a JSON object; numbers that are not finite as text."""
    texts = {name: v if math.isfinite(v) else str(v) for name, v in scores.items()}
    if set(texts) <= set(_CLASSIFIER):
        return {f"{prefix}{name}": text for name, text in texts.items()}
    return {f"{prefix}scores": texts}


def _scores_of(row: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Inverse of :func:`_scores_row`: ``row`` with its scores under one name."""
    named = {name: row.pop(f"{prefix}{name}", None) for name in _CLASSIFIER}
    scores = {name: value for name, value in named.items() if value is not None}
    return {f"{prefix}scores": scores, **row}


def write_csv(path: Path, sweeps: Sequence[Sweep], names: Sequence[str] | None = None) -> None:
    """Replace ``path`` by :func:`trials_csv`, completely or not at all."""
    write_text(path, trials_csv(sweeps, names))


def trials_csv(sweeps: Sequence[Sweep], names: Sequence[str] | None = None) -> str:
    """Return one long table of all trials; ``names`` replace the subjects' own names."""
    return table_csv(trial_rows(sweeps, names))


def trial_rows(
    sweeps: Sequence[Sweep], names: Sequence[str] | None = None
) -> Iterator[Sequence[object]]:
    """Yield one row for each trial, the heading first."""
    scored = [s.plan.digital_scores for s in sweeps] + [t.scores for s in sweeps for t in s.trials]
    scores = list(dict.fromkeys(name for each in scored for name in each)) or [ACCURACY.name]
    yield [*"run profile axis unit level chip".split(), *scores, f"digital_{scores[0]}"]
    for name, sweep in zip(names or [s.plan.run for s in sweeps], sweeps, strict=True):
        plan, axis = sweep.plan, Axis(sweep.plan.axis, ())
        unit = ("s" if plan.axis == "time" else axis.unit) if is_quantity(plan.axis) else ""
        head = [name, plan.profile, plan.axis, unit]
        for trial in sweep.trials:
            level = axis.format(None) if trial.level is None else trial.level
            values = [trial.scores.get(score, "") for score in scores]
            yield [*head, level, trial.chip, *values, plan.digital_scores.get(scores[0], "")]


def _select(plan: Plan, trials: dict[Key, Trial]) -> Sweep:
    places = {level: place for place, level in enumerate(plan.levels)}
    seeds = range(plan.first_chip, plan.first_chip + plan.chips)
    chosen = [
        trial
        for trial in trials.values()
        if trial.basis == plan.basis and trial.level in places and trial.chip in seeds
    ]
    return Sweep(plan, tuple(sorted(chosen, key=lambda trial: (places[trial.level], trial.chip))))


def _read_plan(path: Path) -> Plan:
    try:
        fields = _scores_of(dict(unsealed(parse_json(read_text(path)))), "digital_")
        return _checked(TypeAdapter(Plan).validate_python(fields))
    except FileNotFoundError:
        raise CimsimError(f"{path.parent}: there is no sweep") from None
    except OSError as error:
        raise CimsimError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, OverflowError, TypeError):
        raise CimsimError(
            f"{path}: is damaged; delete it and run the same `cimsim sweep` again, "
            "finished trials are kept"
        ) from None


def _older_version(path: Path, plan: Plan) -> str:
    """See :class:`Store`; a damaged file will be written again."""
    with suppress(CimsimError):
        before = _read_plan(path).cimsim
        return before if before != plan.cimsim else ""
    return ""


def _checked(plan: Plan) -> Plan:
    """Return ``plan``.

    Raises:
        ValueError: if no sweep can have written it.
    """
    numbers = [level for level in plan.levels if isinstance(level, int | float)]
    in_words = len(numbers) < len(plan.levels)
    if (
        plan.chips < 1
        or not plan.levels
        or not all(math.isfinite(number) for number in (*numbers, plan.age_s, plan.first_chip))
        or not plan.digital_scores
        or not 0 <= plan.digital_scores.get("accuracy", 0) <= 1
        or not (plan.age_s >= 0 and 0 <= plan.noise < math.inf)
        or (plan.axis in ("time", "noise", "cycle") and (in_words or min(numbers) < 0))
    ):
        raise ValueError("no plan of a sweep")
    plan.measured  # noqa: B018  # raises on an unknown metric
    return plan


def _parse(lines: bytes, path: Path) -> dict[Key, Trial]:
    trials = {}
    reader = TypeAdapter(Trial)
    for number, line in enumerate(lines.splitlines(), start=1):
        try:
            trial = reader.validate_python(_scores_of(dict(unsealed(parse_json(line)))))
            if not trial.scores or not 0 <= trial.scores.get("accuracy", 0) <= 1:
                raise ValueError("no scores")
            trials[trial.key] = trial
        except (ValueError, OverflowError, TypeError):
            raise CimsimError(
                f"{path}:{number}: is not a result of a sweep; delete the line "
                "and run the same `cimsim sweep` again"
            ) from None
    return trials


def _cut_torn_line(file: IO[bytes]) -> bytes:
    """Return the complete lines of an open file; cut off on disk what follows them."""
    file.seek(0)
    lines = file.read()
    whole = lines[: lines.rfind(b"\n") + 1]
    if len(whole) < len(lines):
        file.truncate(len(whole))
    return whole
