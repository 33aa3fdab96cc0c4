"""What all studies of one run share: how their cells are evaluated, and how results are kept.

A study is a sweep with an axis of its own (see :data:`cimsim.analysis.store.STUDIES`) and what is
worked out from it: a :class:`Result`, a frozen dataclass, with the :class:`Facts` first in most of
them. Beside the cells, which only serve to go on, it is written as JSON, CSV, PNG and SVG.
"""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from matplotlib.figure import Figure
from pydantic import TypeAdapter

from cimsim.analysis.engine import Engine
from cimsim.analysis.levels import Axis, Level
from cimsim.analysis.metric import Metric, metric_named
from cimsim.analysis.plot import save
from cimsim.analysis.store import Plan, Sweep
from cimsim.analysis.sweep import Progress, load_shared, sweep, usual_metric
from cimsim.analysis.table import table_csv
from cimsim.errors import CimsimError
from cimsim.markup import table as html_table
from cimsim.nn import Assignment
from cimsim.profile import Profile
from cimsim.reading import parse_json, read_text
from cimsim.sealing import sealed, unsealed
from cimsim.training.files import make_folder, write_text
from cimsim.training.run import Run
from cimsim.units import format_duration

AnyResult = TypeVar("AnyResult", bound="Result")


@dataclass(frozen=True)
class Evaluation:
    """On which chips a study evaluates a run, and where; see :func:`cimsim.analysis.sweep.sweep`.

    ``on`` is the device of all layers, by default they are on their own; ``noise`` multiplies every
    noise; ``samples`` is how many test samples are looked at, all by default.
    """

    chips: int = 10
    first_chip: int = 0
    samples: int | None = None
    age_s: float = 0.0
    on: Profile | None = None
    noise: float = 1.0
    device: torch.device | str = "cpu"
    data_dir: Path | None = None
    download: bool = False
    metric: str | None = None
    engine: Engine | None = None
    progress: Progress = lambda done, total, doing: None

    def devices(self, run: Run) -> Assignment:
        """The devices that the layers of ``run`` are evaluated on."""
        devices = run.devices if self.on is None else Assignment(self.on)
        return devices.map(lambda profile: profile.scale_noise(self.noise))

    def load_data(self, run: Run) -> None:
        """Load the data of ``run`` from where they are wanted."""
        load_shared([run], self.data_dir, self.download)

    def metric_of(self, run: Run) -> Metric:
        """What is shown of the results of ``run``."""
        self.load_data(run)
        return metric_named(self.metric or usual_metric(run), run.data.token)

    def sweep(self, run: Run, axis: Axis) -> Sweep:
        """All cells of ``axis``, those that are on disk already read from there."""
        (found,) = sweep(
            [run],
            axis,
            self.chips,
            first_chip=self.first_chip,
            samples=self.samples,
            age_s=self.age_s,
            on=self.devices(run),
            device=self.device,
            data_dir=self.data_dir,
            download=self.download,
            metric=self.metric,
            engine=self.engine,
            progress=self.progress,
        )
        return found


@dataclass(frozen=True)
class Facts:
    """What a study was about: run, device, data, chips and metric.

    Attributes:
        noise: factor on every noise of the profile.
        digital: the metric without any device.
        on: the name of the device that was asked for; None for the run's own.
        others: as in :class:`cimsim.analysis.store.Plan`.
    """

    run: str
    profile: str
    noise: float
    data: str
    checkpoint_sha256: str
    chips: int
    age_s: float
    metric: str
    token: str
    digital: float
    on: str | None = None

    @property
    def measured(self) -> Metric:
        """The metric."""
        return metric_named(self.metric, self.token)

    @property
    def where(self) -> str:
        """For a title: ``aware on pcm-ibm-2020 at 2 times its noise``."""
        scaled = "" if self.noise == 1 else f" at {self.noise:g} times its noise"
        return f"{self.run} on {self.profile}{scaled}"

    @property
    def counted(self) -> str:
        """For a title: ``10 chips``."""
        return f"{self.chips} chips" if self.chips > 1 else "1 chip"

    @property
    def aged(self) -> str:
        """For a title: ``, 1 y after programming``; empty for age zero."""
        return f", {format_duration(self.age_s)} after programming" if self.age_s else ""

    @property
    def caption(self) -> str:
        """For a table: metric, chips, age, noise, and what the digital model reaches."""
        metric = self.measured
        scaled = "" if self.noise == 1 else f", {self.noise:g} times the noise"
        digital = metric.shown(self.digital)
        return f"{metric.heading}, {self.counted}{self.aged}{scaled}; digital {digital}"


@dataclass(frozen=True)
class Sheet:
    """A table as people read it, in a terminal, a notebook or a report; ``right`` are its columns
    of numbers."""

    caption: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: Collection[int]


class Result(ABC):
    """What a study found; its subclasses are dataclasses."""

    @abstractmethod
    def table(self) -> Iterator[Sequence[object]]:
        """The numbers as a long table, the heading first."""

    @abstractmethod
    def sheet(self) -> Sheet:
        """What is shown of them."""

    def derived(self) -> dict[str, Any]:
        """What stands in the JSON beside the fields that it follows from."""
        return {}

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        sheet = self.sheet()
        return html_table(sheet.headings, sheet.rows, sheet.caption, sheet.right)


def facts_of(plan: Plan, evaluation: Evaluation) -> Facts:
    """The facts of the sweep that ``plan`` asked for."""
    return Facts(
        run=plan.run,
        profile=plan.profile,
        noise=evaluation.noise,
        data=plan.data,
        checkpoint_sha256=plan.checkpoint_sha256,
        chips=plan.chips,
        age_s=plan.age_s,
        metric=plan.metric,
        token=plan.token,
        digital=plan.digital,
        on=None if evaluation.on is None else evaluation.on.name,
    )


def scores(sweep: Sweep) -> dict[Level, list[float]]:
    """The metric of every level's chips, in the order of their seeds."""
    found: dict[Level, list[float]] = {level: [] for level in sweep.plan.levels}
    for cell in sweep.cells:
        found[cell.level].append(sweep.plan.measured.of(cell.accuracy, cell.loss))
    return found


def finite(found: Iterable[Sequence[float]], metric: Metric) -> None:
    """Refuse numbers that differences cannot be made of.

    Raises:
        CimsimError: if one of them is not finite.
    """
    if not all(math.isfinite(value) for values in found for value in values):
        raise CimsimError(
            f"some chip's {metric.name} is not finite, so that no losses add up to it; "
            "measure another with --metric accuracy"
        )


def plain(result: Any) -> Any:
    """A result as JSON holds it; numbers that are not finite as text, such as ``"inf"``."""
    if isinstance(result, dict):
        return {key: plain(value) for key, value in result.items()}
    if isinstance(result, list | tuple):
        return [plain(value) for value in result]
    if isinstance(result, float) and not math.isfinite(result):
        return str(result)
    return result


def as_json(result: Result) -> str:
    """A result as JSON."""
    facts = {**result.derived(), **asdict(result)}  # type: ignore[call-overload]
    return json.dumps(plain(facts), indent=2, allow_nan=False)


def write_result(folder: Path, name: str, result: Result, figure: Figure) -> list[Path]:
    """``name`` with .json (which :func:`read_result` reads), .csv, .png and .svg in ``folder``;
    returns their paths."""
    make_folder(folder)
    files = [folder / f"{name}.json", folder / f"{name}.csv"]
    write_text(files[0], json.dumps(sealed(json.loads(as_json(result))), indent=2) + "\n")
    write_text(files[1], table_csv(result.table()))
    return [*files, *save(figure, folder / f"{name}.png")]


def read_result(path: Path, kind: type[AnyResult], again: str) -> AnyResult:
    """What :func:`write_result` put into the JSON file ``path``.

    Args:
        kind: the dataclass.
        again: the command that makes it.

    Raises:
        CimsimError: if there is none, or it is damaged.
    """
    try:
        found = TypeAdapter(kind).validate_python(unsealed(parse_json(read_text(path))))
        for _ in found.table():
            pass
        found.sheet()
        return found
    except FileNotFoundError:
        raise CimsimError(f"{path}: there is none; `{again}` makes it") from None
    except OSError as error:
        raise CimsimError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, TypeError, LookupError, ArithmeticError):
        # Numbers of the right types that do not fit each other show when they are put in tables.
        raise CimsimError(f"{path}: is damaged; `{again}` makes it again") from None
