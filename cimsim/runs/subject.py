"""A finished training run as a subject of sweeps and studies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn

from cimsim.analysis.subjects import (
    SIGNAL_SAMPLES,
    Subject,
    convert_call,
    merged_settings,
    profile_call,
)
from cimsim.analysis.sweeps.metric import Metric, Scores, metric_named
from cimsim.errors import CimsimError
from cimsim.folders import named_folder
from cimsim.layer_options import parse_layers
from cimsim.nn import Assignment, Signals, measure_signals
from cimsim.nn.scoring import score
from cimsim.suggest import unknown
from cimsim.training.data import HELD_OUT, TEST, DataSet, Split
from cimsim.training.held_out import chip_of
from cimsim.training.run import Run, calibration_batches, first_batches
from cimsim.training.tasks import Classification, Regression, Text

if TYPE_CHECKING:
    from cimsim.analysis.report.blocks import ReportRun

_BATCH = 125

# Runs that are evaluated together share their data, which may be larger than any model.
_loaded: WeakValueDictionary[tuple[str, Path | None, Any], DataSet] = WeakValueDictionary()


@dataclass(frozen=True)
class RunPlace:
    """Where another process finds a run."""

    path: Path
    data_dir: Path | None
    trust: bool
    split: Split

    def open(self) -> Subject:
        """Open the run."""
        return RunSubject(Run.open(self.path, self.trust), self.data_dir, split=self.split)


class RunSubject(Subject):
    """A finished run; results are kept in its folder.

    Results on held-out training data are kept in the folder ``held-out`` within it, and use
    separate chips, so that choices and reports share neither samples nor chips.

    Attributes:
        run: the run.
        split: the samples that it is evaluated on.
    """

    repeats = True
    _tests: tuple[DataSet, Split, torch.device, Tensor, Tensor] | None = None  # one at a time

    def __init__(
        self,
        run: Run,
        data_dir: Path | None = None,
        download: bool = False,
        split: Split = TEST,
    ) -> None:
        """
        Args:
            run: a finished run.
            data_dir: folder of its data; by default the one used in training.
            download: fetch data that is missing.
            split: ``test``, or ``held-out`` for the training data that were held out.

        Raises:
            CimsimError: if there is no such split, or the run has no held-out data.
        """
        self.run, self.name, self.folder = run, run.name, run.path
        self.split: Split = split
        if split == HELD_OUT:
            if not run.config.hold_out:
                raise CimsimError(
                    f"{run.path} has no held-out data; train it with --hold-out 0.1, or use "
                    "--split test"
                )
            self.folder, self.argument = run.path / HELD_OUT, str(run.path)
        elif split != TEST:
            raise CimsimError(unknown("split", split, (TEST, HELD_OUT)))
        self._data_dir, self._download = data_dir or run.data_dir, download

    @property
    def home(self) -> Path:
        """See :class:`Subject`."""
        return self.run.path

    @cached_property
    def test_data(self) -> DataSet:
        """The data set that the run was trained on.

        Raises:
            CimsimError: if it is missing, or differs from the one used in training.
        """
        run, config = self.run, self.run.config
        part = (config.limit, config.hold_out) if config.hold_out else None
        source = (config.data, self._data_dir, part)
        data = _loaded.get(source)
        if data is None and "data" in vars(run) and run.data_dir == self._data_dir:
            data = run.data
        if data is None:
            data = run.load_data(self._data_dir, self._download)
        _loaded[source] = run.data = data
        run.data_dir = self._data_dir
        if data.fingerprint != run.result.get("data_fingerprint", data.fingerprint):
            raise CimsimError(
                f"{run.path}: was trained on other {data.name} data than those found now; "
                "set --data-dir to the folder of the original data"
            )
        return data

    @property
    def data(self) -> str:
        """See :class:`Subject`."""
        return self.test_data.name if self.split == TEST else f"{self.test_data.name}, {self.split}"

    def chip_seed(self, number: int) -> int:
        """See :class:`Subject`."""
        return chip_of(self.split, number)

    @property
    def token(self) -> str:
        """See :class:`Subject`."""
        return self.test_data.token

    @property
    def metric(self) -> str:
        """Accuracy; perplexity for text, RMSE for numbers."""
        return self.test_data.task.metric

    @property
    def test_samples(self) -> int:
        """See :class:`Subject`."""
        return len(self.test_data.part(self.split)[1])

    @property
    def fingerprint(self) -> str:
        """See :class:`Subject`."""
        return self.run.checkpoint_sha256

    @property
    def data_fingerprint(self) -> str:
        """See :class:`Subject`."""
        if self.split == TEST:
            return self.test_data.fingerprint
        config = self.run.config
        return f"{self.test_data.fingerprint} {self.split} {config.hold_out!r} {config.limit}"

    @property
    def assignment(self) -> Assignment:
        """See :class:`Subject`."""
        if self.run.layers:
            _ = self.test_data  # loads the data that the model's layers need
        return self.run.profiles

    def skeleton(self) -> nn.Module:
        """See :class:`Subject`."""
        _ = self.test_data
        return self.run.new_model()

    def model(
        self, assignment: Assignment | None = None, device: torch.device | str = "cpu"
    ) -> nn.Module:
        """See :class:`Subject`."""
        _ = self.test_data
        return self.run.chip_model(assignment, device)

    def score(self, model: nn.Module, samples: int | None = None) -> Scores:
        """See :class:`Subject`."""
        device = next((p.device for p in model.parameters()), torch.device("cpu"))
        x, y = (every[:samples] for every in self._tests_on(device))
        return score(model, x, y, self.test_data.task.tally(), self.test_data.batch_size)

    def _tests_on(self, device: torch.device) -> tuple[Tensor, Tensor]:
        data, kept = self.test_data, RunSubject._tests
        if kept is None or kept[0] is not data or kept[1:3] != (self.split, device):
            x, y = data.part(self.split)
            kept = data, self.split, device, x.to(device), y.to(device)
            RunSubject._tests = kept if device.type != "cpu" else None
        return kept[3:]

    def digital_scores(
        self, samples: int | None = None, device: torch.device | str = "cpu"
    ) -> Scores:
        """See :class:`Subject`."""
        _ = self.test_data
        return self.run.digital_scores(samples, device, self.split)

    def inputs(self, count: int, device: torch.device | str = "cpu") -> Tensor:
        """See :class:`Subject`."""
        return self.test_data.part(self.split)[0][:count].to(device)

    def calibration(self, device: torch.device | str = "cpu") -> list[Any]:
        """See :class:`Subject`."""
        return list(calibration_batches(self.run.config, self.test_data, device))

    def training(self, count: int, device: torch.device | str = "cpu") -> list[Any]:
        """See :class:`Subject`."""
        return list(first_batches(self.run.config, self.test_data, device, count))

    def signals(
        self,
        model: nn.Module,
        chips: Iterable[int],
        age_s: float,
        samples: int | None = None,
    ) -> dict[str, Signals]:
        """See :class:`Subject`."""
        device = next((p.device for p in model.parameters()), torch.device("cpu"))
        inputs = self.inputs(min(samples or SIGNAL_SAMPLES, SIGNAL_SAMPLES), device)
        batches = list(inputs.split(self.test_data.batch_size or _BATCH))
        return measure_signals(model, batches, map(self.chip_seed, chips), age_s)

    def convert_call(
        self, layers: Mapping[str, Mapping[str, Any]], on: Assignment | None = None
    ) -> str:
        """See :class:`Subject`."""
        if on is not None:
            return super().convert_call(layers, on)
        config = self.run.config
        profile = profile_call(config.profile, config.overrides)
        settings = merged_settings(parse_layers(config.layer), layers)
        return convert_call(profile, settings, config.keep_digital)

    def place(self) -> RunPlace:
        """See :class:`Subject`."""
        return RunPlace(self.run.path.resolve(), self._data_dir, self.run.trust, self.split)


def metric_of(run: Run) -> Metric:
    """The metric that the scores of ``run`` are shown in by default, without loading its data."""
    token = str(run.result.get("token", ""))
    if run.result.get("task") == Regression.name:
        return metric_named(Regression.metric)
    return metric_named(Text.metric if token else Classification.metric, token)


def finished(runs: Sequence[ReportRun]) -> list[ReportRun]:
    """Those of a report's subjects that are finished runs."""
    return [run for run in runs if isinstance(run.subject, RunSubject)]


def run_of(subject: Subject) -> Run:
    """The run of a subject that is one."""
    assert isinstance(subject, RunSubject)
    return subject.run


def open_run(
    path: Path | str,
    *,
    trust: bool = False,
    data_dir: Path | None = None,
    download: bool = False,
    split: Split = TEST,
) -> RunSubject:
    """Open the finished run in the folder ``path`` for sweeps and studies.

    Args:
        path: the folder.
        trust: import the model that the run names, if it is a function from outside cimsim.
        data_dir: folder of its data; by default the one used in training.
        download: fetch data that is missing.
        split: ``test``, or ``held-out`` for the training data that were held out, with separate
            chips and a separate folder of results.

    Raises:
        CimsimError: if the folder is not a finished run, or has no held-out data.
    """
    return RunSubject(Run.open(named_folder(path), trust), data_dir, download, split)
