"""Content of the JSON files of a run: ``result.json``, ``metrics.jsonl``, ``env.json``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cimsim.errors import CimsimError
from cimsim.training.manifest import read_checked

METRICS, RESULT, ENV = "metrics.jsonl", "result.json", "env.json"

_Share = Annotated[float, Field(ge=0, le=1)]
_Kind = TypeVar("_Kind", bound=BaseModel)


class _Record(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")


class Outcome(_Record):
    """Result of a run; losses may be infinite or NaN."""

    digital_accuracy: _Share
    digital_loss: float
    chip_seed: int = 0
    chip_accuracy: _Share
    chip_loss: float
    data_fingerprint: str = ""
    token: str = ""


class EpochMetrics(_Record):
    """Metrics of one training epoch."""

    epoch: Annotated[int, Field(ge=1)]
    train_loss: float
    train_accuracy: _Share
    noise_strength: float = 0.0
    seconds: float = 0.0
    gradient_truth: float | None = None
    weights_moved: float | None = None
    codes_changed: float | None = None


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
