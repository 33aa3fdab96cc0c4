"""A disk that is full, whichever file fills it: one sentence, and the run goes on later."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cimsim.analysis.sweeps.axis import parse_axis
from cimsim.errors import CimsimError
from cimsim.training.fit import fit
from cimsim.training.progress import ACCURACY, Measure, Silent
from cimsim.training.run import Run
from tests.subjects import sweep
from tests.training.small import small

Limit = Callable[[int], None]


@contextmanager
def files_limited() -> Iterator[Limit]:
    """The function given allows no file to grow beyond so many bytes: what a full disk does, but
    that the system says "File too large"."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        yield lambda count: resource.setrlimit(resource.RLIMIT_FSIZE, (count, before[1]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """An undisturbed run; it also has the kernels compiled, which write files too."""
    return fit(small(), tmp_path_factory.mktemp("straight") / "run")


class Filling(Silent):
    """Limits files to ``count`` bytes when the training begins, or after its last epoch."""

    def __init__(self, limit: Limit, count: int, last: bool) -> None:
        self._limit, self._count, self._last = limit, count, last

    def start(self, total: int, done: int, measure: Measure = ACCURACY) -> None:
        if not self._last:
            self._limit(self._count)

    def epoch(self, metrics: dict[str, Any]) -> None:
        if self._last and metrics["epoch"] == 2:
            self._limit(self._count)


@pytest.mark.parametrize("name", ["profile.yaml", "metrics.jsonl", "checkpoint.pt", "model"])
def test_every_writer_of_a_training_says_so(name: str, straight: Run, tmp_path: Path) -> None:
    weights = (straight.path / "model.safetensors").stat().st_size
    count = {"profile.yaml": 100, "metrics.jsonl": 50}.get(name, weights - 10)
    out = tmp_path / "run"
    with files_limited() as limit:
        if name == "profile.yaml":
            limit(count)
        with pytest.raises(CimsimError) as error:
            fit(small(), out, progress=Filling(limit, count, last=name == "model"))
    assert f"cannot write {out / name}" in str(error.value)
    assert str(error.value).endswith(": File too large")
    assert not (out / "result.json").exists()
    assert not list(out.glob(".*.part"))
    resumed = fit(small(), out, resume=True)
    assert resumed.checkpoint_sha256 == straight.checkpoint_sha256


@pytest.mark.parametrize("count", [0, 100, 400])
def test_a_sweep_says_so_and_goes_on(count: int, straight: Run) -> None:
    axis = parse_axis(f"noise=0,{1 + count}")
    straight.digital_scores()
    with files_limited() as limit:
        limit(count)
        with pytest.raises(CimsimError, match=r"cannot write .*File too large"):
            sweep([straight], axis, 2)
    (found,) = sweep([straight], axis, 2)
    assert not found.missing
