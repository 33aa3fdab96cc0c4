"""Content of the JSON files of a run: ``result.json``, ``metrics.jsonl``, ``env.json``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cimsim.errors import CimsimError
from cimsim.training.manifest import read_checked

METRICS, RESULT, ENV = "metrics.jsonl", "result.json", "env.json"

_Share = Annotated[float, Field(ge=0, le=1)]
_Kind = TypeVar("_Kind", bound=BaseModel)


class _Record(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")


class Outcome(_Record):
    """Result of a run: the scores of its task after ``digital_`` and ``chip_``.

    Scores of regression are ``rmse``, ``mae`` and ``r2``. Losses may be infinite or NaN.
    """

    task: Literal["classification", "text", "regression"] | None = None
    digital_accuracy: _Share = 0.0
    digital_loss: float = 0.0
    digital_rmse: float = 0.0
    chip_seed: int = 0
    chip_accuracy: _Share = 0.0
    chip_loss: float = 0.0
    chip_rmse: float = 0.0
    data_fingerprint: str = ""
    token: str = ""

    @model_validator(mode="after")
    def _scored(self) -> Outcome:
        names = ("rmse",) if self.task == "regression" else ("accuracy", "loss")
        needed = [f"{where}_{name}" for where in ("digital", "chip") for name in names]
        if missing := [name for name in needed if name not in self.model_fields_set]:
            raise ValueError(f"{missing[0]} is missing")
        return self


class EpochMetrics(_Record):
    """Metrics of one training epoch."""

    epoch: Annotated[int, Field(ge=1)]
    train_loss: float
    train_accuracy: _Share = 0.0
    train_rmse: float = 0.0
    noise_strength: float = 0.0
    seconds: float = 0.0
    held_out_accuracy: _Share = 0.0
    held_out_loss: float = 0.0
    held_out_rmse: float = 0.0
    held_out_chip_accuracy: _Share = 0.0
    held_out_chip_loss: float = 0.0
    held_out_chip_rmse: float = 0.0
    gradient_truth: float | None = None
    weights_moved: float | None = None
    codes_changed: float | None = None

    @model_validator(mode="after")
    def _measured(self) -> EpochMetrics:
        if not {"train_accuracy", "train_rmse"} & self.model_fields_set:
            raise ValueError("train_accuracy is missing")
        return self


class Environment(_Record):
    """Versions and command line of a training run."""

    cimsim: str = ""
    python: str = ""
    platform: str = ""
    packages: dict[str, str | None] = {}
    threads: int = 1
    command: list[str] = []


def read_outcome(run: Path) -> dict[str, Any]:
    """Read the ``result.json`` of the run in the folder ``run``.

    Raises:
        CimsimError: if it is damaged.
    """
    path = run / RESULT
    return _read(Outcome, path, read_checked(path))


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """Read the metrics of every epoch of the run in the folder ``run``; empty without a file.

    Raises:
        CimsimError: if the file is damaged.
    """
    path = run / METRICS
    if not path.is_file():
        return []
    return parse_metrics(path, read_checked(path))


def parse_metrics(path: Path, content: bytes) -> list[dict[str, Any]]:
    """Parse the metrics in ``content``, which was read from ``path``.

    Raises:
        CimsimError: if a line is damaged.
    """
    epochs = []
    for number, line in enumerate(content.splitlines(), start=1):
        epochs.append(_read(EpochMetrics, path, line, number))
    return epochs


def read_environment(run: Path) -> dict[str, Any]:
    """Read the ``env.json`` of the run in the folder ``run``.

    Raises:
        CimsimError: if it is damaged.
    """
    path = run / ENV
    return _read(Environment, path, read_checked(path))


def _read(kind: type[_Kind], path: Path, content: bytes, line: int | None = None) -> dict[str, Any]:
    try:
        return kind.model_validate_json(content).model_dump(exclude_unset=True)
    except ValidationError as error:
        issue = error.errors(include_url=False)[0]
        where = ".".join(map(str, issue["loc"]))
        place = f"{path}" if line is None else f"{path}:{line}"
        reason = f"{where}: {issue['msg']}" if where else issue["msg"]
        raise CimsimError(
            f"{place} cannot be read ({reason}); restore it from a copy, or train the run again"
        ) from None
