"""Where the cells of a sweep are evaluated: in this process, or in several.

A cell is the same wherever it is evaluated and whatever was before it: its chip is named by its
seed. So cells may be done in any order, and again, if a worker is lost.
"""

from __future__ import annotations

import os
import signal
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor, nn

import cimsim
from cimsim.analysis.upkeep import keep_up
from cimsim.errors import CimsimError
from cimsim.kernels import cpu
from cimsim.nn import Assignment
from cimsim.training.data import load_data
from cimsim.training.evaluate import Score, evaluate
from cimsim.training.run import Run

_SAFE_PATH = "PYTHONSAFEPATH"
_MOST_LOSSES = 3  # of workers, one after the other, with nothing finished between them


@dataclass(frozen=True)
class Task:
    """One cell to evaluate: a run by its number in the list, the devices of its layers, a chip, its
    age and its write cycle; on the first ``samples`` of the test data, or all of them."""

    run: int
    devices: Assignment
    chip: int
    age_s: float
    samples: int | None = None
    upkeep: tuple[str, ...] = ()
    cycle: int = 0


class Bench:
    """Evaluates cells one after the other; the next one often needs the same model again."""

    def __init__(self, runs: Sequence[Run], device: torch.device | str) -> None:
        self._runs, self._device = runs, torch.device(device)
        self._model: nn.Module | None = None
        self._built_for: tuple[int, Assignment] | None = None
        self._tests: dict[int, tuple[Tensor, Tensor]] = {}

    def score(self, task: Task) -> Score:
        """Accuracy and loss on the test data."""
        run, wanted = self._runs[task.run], (task.run, task.devices)
        if self._model is None or self._built_for != wanted:
            self._model, self._built_for = run.chip_model(task.devices, self._device), wanted
        cimsim.program(self._model, seed=task.chip, cycle=task.cycle)
        cimsim.age(self._model, task.age_s)
        if task.upkeep:
            keep_up(self._model, task.upkeep, run, self._device)
            self._built_for = None  # the next chip gets a model as it came out of training
        if task.run not in self._tests:
            tests = run.data.test_x.to(self._device), run.data.test_y.to(self._device)
            self._tests = {task.run: tests}  # those of one run at a time
        x, y = (of_all[: task.samples] for of_all in self._tests[task.run])
        return evaluate(self._model, x, y, run.data.batch_size)


class Engine(ABC):
    """Evaluates many cells."""

    @abstractmethod
    def scores(
        self, runs: Sequence[Run], tasks: Sequence[Task], device: torch.device
    ) -> Iterator[tuple[int, Score]]:
        """The score of each task with its number, as they are finished."""


class Here(Engine):
    """In this process, in order."""

    def scores(
        self, runs: Sequence[Run], tasks: Sequence[Task], device: torch.device
    ) -> Iterator[tuple[int, Score]]:
        """See :class:`Engine`."""
        bench = Bench(runs, device)
        for number, task in enumerate(tasks):
            yield number, bench.score(task)


class Workers(Engine):
    """In ``count`` processes of this machine, which share its processors.

    They wait for the next sweep, as a study may need many, and end with this process. One that dies
    (out of memory, killed) costs the cells that were under way, which others then do again.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool: ProcessPoolExecutor | None = None

    def scores(
        self, runs: Sequence[Run], tasks: Sequence[Task], device: torch.device
    ) -> Iterator[tuple[int, Score]]:
        """See :class:`Engine`.

        Raises:
            CimsimError: if processes die again and again and nothing is finished.
        """
        left, losses = dict(enumerate(tasks)), 0
        while left:
            try:
                for number, score in self._some(runs, left, device):
                    del left[number]
                    losses = 0
                    yield number, score
            except BrokenProcessPool:
                losses += 1
                if losses == _MOST_LOSSES:
                    raise CimsimError(
                        f"worker processes died {losses} times and finished nothing; they may have "
                        "run out of memory: try fewer --workers"
                    ) from None

    def _some(
        self, runs: Sequence[Run], left: dict[int, Task], device: torch.device
    ) -> Iterator[tuple[int, Score]]:
        """As many as are finished before a process dies."""
        places = places_of(runs)
        with _safe_path():
            pool = self._pool = self._pool or self._begun()
        try:
            with _safe_path():  # the first one starts the processes
                waiting: dict[Future[Score], int] = {
                    pool.submit(score_at, places, str(device), task): number
                    for number, task in left.items()
                }
            for future in as_completed(waiting):
                yield waiting[future], future.result()
        except BaseException:  # also of who asked for the scores
            self._pool = None
            pool.shutdown(wait=False, cancel_futures=True)
            raise

    def _begun(self) -> ProcessPoolExecutor:
        cpu.build()  # here once, and not in each of them
        threads = max(1, (os.cpu_count() or 1) // self.count)
        context = get_context("spawn")
        return ProcessPoolExecutor(
            self.count, mp_context=context, initializer=_begin, initargs=(threads,)
        )


@contextmanager
def _safe_path() -> Iterator[None]:
    """Within the block, new processes do not look for modules in the working folder until they get
    this one's path; somebody else may have made that folder. Python 3.10 cannot be told so."""
    before = os.environ.get(_SAFE_PATH)
    os.environ[_SAFE_PATH] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_SAFE_PATH]
        else:
            os.environ[_SAFE_PATH] = before


Place: TypeAlias = tuple[Path, str, Path | None, bool]
"""Where another process finds a run: its folder, its data set, the folder of the data, and whether
the run is trusted."""


def places_of(runs: Sequence[Run]) -> tuple[Place, ...]:
    """Where these runs are found."""
    return tuple((run.path.resolve(), run.config.data, run.data_dir, run.trust) for run in runs)


_kept: tuple[tuple[tuple[Place, ...], str], Bench] | None = None  # the last of a worker process


def score_at(places: tuple[Place, ...], device: str, task: Task) -> Score:
    """The score of one of the runs at ``places``, in a process that may know nothing of them."""
    global _kept
    if _kept is None or _kept[0] != (places, device):
        _kept = None  # before the next, as two may be too large
        _kept = (places, device), _bench_at(places, device)
    return _kept[1].score(task)


def _bench_at(places: Sequence[Place], device: str) -> Bench:
    runs = []
    for path, data, data_dir, trust in places:
        run = Run.open(path, trust)
        run.data = load_data(data, data_dir)
        runs.append(run)
    return Bench(runs, device)


def _begin(threads: int) -> None:
    """The life of a worker begins: it lives no longer than the process that wants its work."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one that started it
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(0)
