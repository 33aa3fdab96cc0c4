"""Engines that evaluate the trials of a sweep: in this process, or in several.

A trial has the same scores on every worker and after any other trials, because
its chip is named by its seed. So trials may be evaluated in any order, and again if a worker dies.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context, parent_process
from typing import Any

import torch
from torch import nn

import cimsim
from cimsim.adaptation import adapt
from cimsim.adaptation.recipe import Recipe
from cimsim.analysis.memory_place import payloads_of, receive
from cimsim.analysis.scoring import ScoreError
from cimsim.analysis.subjects import Place, Subject
from cimsim.analysis.sweeps.metric import Scores
from cimsim.errors import CimsimError
from cimsim.interrupts import raise_if_interrupted
from cimsim.kernels import cpu
from cimsim.nn import Assignment

_SAFE_PATH, _THREADS = "PYTHONSAFEPATH", "OMP_NUM_THREADS"
_MOST_LOSSES = 3  # worker deaths in a row without a finished trial


COST = "adapt_"
"""Beginning of the names of costs among scores, such as ``adapt_batches``."""


@dataclass(frozen=True)
class Task:
    """One trial to evaluate.

    Attributes:
        subject: number of the subject in the list.
        assignment: profiles of its layers.
        chip, age_s, cycle: seed of the chip, its age in seconds and its write cycle.
        samples: number of test samples; None for all.
        adaptation: to the aged chip, see :func:`cimsim.adapt`; None for nothing.
        counts_cost: whether the scores contain its cost, see :data:`COST`.
        name: chip and level, for messages.
    """

    subject: int
    assignment: Assignment
    chip: int
    age_s: float
    samples: int | None = None
    adaptation: Recipe | None = None
    counts_cost: bool = False
    cycle: int = 0
    name: str = ""

    @property
    def of_any_chip(self) -> Task | None:
        """The trial whose scores are valid for every chip; None if chips differ."""
        if self.adaptation is not None or self.assignment.has_noise:
            return None
        return replace(self, chip=0, name="")


@dataclass(frozen=True)
class _OfAnyChip:
    """Scores of chips without noise, ``confirmed`` by a second chip."""

    task: Task
    scores: Scores
    confirmed: bool


class Evaluator:
    """Evaluates trials one after the other; the next one often needs the same model again.

    Chips without noise are all the same: if two of them in a row have the same scores, further ones
    are not evaluated.
    """

    def __init__(self, subjects: Sequence[Subject], device: torch.device | str) -> None:
        self._subjects, self._device = subjects, torch.device(device)
        self._model: nn.Module | None = None
        self._built_for: tuple[int, Assignment] | None = None
        self._last: _OfAnyChip | None = None

    def scores(self, task: Task) -> Scores:
        """Score the subject of ``task`` on its chip."""
        alike = task.of_any_chip if self._subjects[task.subject].repeats else None
        if alike is None:
            return self._scores(task)
        last = self._last
        if last is not None and last.task == alike and last.confirmed:
            return dict(last.scores)
        scores = self._scores(task)
        confirmed = last is not None and (last.task, last.scores) == (alike, scores)
        self._last = _OfAnyChip(alike, dict(scores), confirmed)
        return scores

    def _scores(self, task: Task) -> Scores:
        subject, needed = self._subjects[task.subject], (task.subject, task.assignment)
        if self._model is None or self._built_for != needed:
            self._model = subject.model(task.assignment, self._device)
            self._built_for = needed
        cimsim.program(self._model, seed=subject.chip_seed(task.chip), cycle=task.cycle)
        cimsim.age(self._model, task.age_s)
        cost: dict[str, float] = {}
        if task.adaptation is not None:
            cost = self._adapt(self._model, subject, task.adaptation, task.name)
            self._built_for = None  # the next chip starts from the model as it was trained
        try:
            scores = dict(subject.score(self._model, task.samples))
        except ScoreError as error:
            raise CimsimError(f"{subject.name}: {error} ({task.name})") from error.__cause__
        return scores | cost if task.counts_cost else scores

    def _adapt(
        self, model: nn.Module, subject: Subject, recipe: Recipe, name: str
    ) -> dict[str, float]:
        """Adapt ``model`` to its chip, and return the cost."""
        data = subject.training(recipe.budget, self._device)
        limits = {"budget": recipe.budget, "teacher": recipe.teacher, "seed": recipe.seed}
        try:
            done = adapt(model, data, recipe.parts, **limits)  # type: ignore[arg-type]
        except CimsimError as error:
            raise CimsimError(f"{subject.name}: {error} ({name})") from error
        return {f"{COST}{of}": number for of, number in done.total.items()}


class Engine(ABC):
    """Evaluates many trials."""

    @abstractmethod
    def scores(
        self, subjects: Sequence[Subject], tasks: Sequence[Task], device: torch.device
    ) -> Iterator[tuple[int, Scores]]:
        """Yield the number and the scores of each task, as they are finished."""


class LocalEngine(Engine):
    """An engine that evaluates trials in this process, in order."""

    def scores(
        self, subjects: Sequence[Subject], tasks: Sequence[Task], device: torch.device
    ) -> Iterator[tuple[int, Scores]]:
        """See :class:`Engine`."""
        evaluator = Evaluator(subjects, device)
        for number, task in enumerate(tasks):
            yield number, evaluator.scores(task)
            raise_if_interrupted()


class ProcessEngine(Engine):
    """An engine of ``count`` processes on this machine, which share its processors.

    The processes are kept for the next sweep, since a study may need many, and end with this one.
    If one dies (out of memory, killed), the trials under way are evaluated again.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool: ProcessPoolExecutor | None = None
        self._sent: dict[str, bytes] = {}

    def scores(
        self, subjects: Sequence[Subject], tasks: Sequence[Task], device: torch.device
    ) -> Iterator[tuple[int, Scores]]:
        """See :class:`Engine`.

        Raises:
            CimsimError: if processes die repeatedly and no trial is finished, or a subject cannot
                be sent to them.
        """
        left, losses = dict(enumerate(tasks)), 0
        while left:
            try:
                for number, scores in self._some(subjects, left, device):
                    del left[number]
                    losses = 0
                    yield number, scores
            except BrokenProcessPool:
                losses += 1
                if losses == _MOST_LOSSES:
                    raise CimsimError(
                        f"worker processes died {losses} times without a result; they may have run "
                        "out of memory: try fewer --workers"
                    ) from None

    def _some(
        self, subjects: Sequence[Subject], left: dict[int, Task], device: torch.device
    ) -> Iterator[tuple[int, Scores]]:
        """Yield the tasks that are finished before a process dies."""
        places = tuple(subject.place() for subject in subjects)
        sent = payloads_of(places)
        if self._pool is not None and not sent.keys() <= self._sent.keys():
            self._pool.shutdown(wait=False)
            self._pool = None
        with self._starting():
            pool = self._pool = self._pool or self._new_pool(sent)
        try:
            with self._starting():  # the first one starts the processes
                waiting: dict[Future[Scores], int] = {
                    pool.submit(scores_at, places, str(device), task): number
                    for number, task in left.items()
                }
            for future in as_completed(waiting):
                yield waiting[future], future.result()
        except BaseException:  # also if the caller stops early
            self._pool = None
            pool.shutdown(wait=False, cancel_futures=True)
            raise

    def _new_pool(self, sent: dict[str, bytes]) -> ProcessPoolExecutor:
        cpu.build()  # once here, not in each process
        self._sent = sent
        return ProcessPoolExecutor(
            self.count,
            mp_context=get_context("spawn"),
            initializer=_start_worker,
            initargs=(self._threads, sent),
        )

    @property
    def _threads(self) -> int:
        """Threads of each process: its share of those of this one."""
        return max(1, torch.get_num_threads() // self.count)

    @contextmanager
    def _starting(self) -> Iterator[None]:
        """Within the block, new processes do not run the user's script again, and do not import
        from the working folder until they get this one's path, since that folder may be from
        someone else (Python 3.10 has no such setting). Libraries start the process's share of
        threads."""
        with _environment({_SAFE_PATH: "1", _THREADS: str(self._threads)}), _without_main():
            yield


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Within the block, processes are started with these environment variables."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _without_main() -> Iterator[None]:
    """Within the block, new processes do not import ``__main__``. What they need of it is sent to
    them, and a script without ``if __name__ == "__main__":`` would start processes forever."""
    main = sys.modules["__main__"]
    names = [name for name in ("__spec__", "__file__") if name in vars(main)]
    hidden: dict[str, Any] = {name: vars(main).pop(name) for name in names}
    main.__spec__ = None
    try:
        yield
    finally:
        vars(main).update(hidden)


_kept: tuple[tuple[tuple[Place, ...], str], Evaluator] | None = None  # the last one of a worker


def scores_at(places: tuple[Place, ...], device: str, task: Task) -> Scores:
    """Return the scores of one of the subjects at ``places``, in a process that may not have them
    yet."""
    global _kept
    if _kept is None or _kept[0] != (places, device):
        _kept = None  # before the next is opened, as two may be too large
        _kept = (places, device), Evaluator([place.open() for place in places], device)
    return _kept[1].scores(task)


def _start_worker(threads: int, sent: Mapping[str, bytes]) -> None:
    """Prepare a worker process, which ends with the process that started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process handles Ctrl-C
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    receive(sent)


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(0)
