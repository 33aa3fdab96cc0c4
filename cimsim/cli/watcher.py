"""Progress of trainings: a bar, or lines."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from cimsim.cli import console
from cimsim.cli.progress import counted, progress_bar
from cimsim.training.progress import ACCURACY, Measure

if TYPE_CHECKING:
    from cimsim.analysis.evaluation import Progress as SweepProgress
    from cimsim.training.config import TrainConfig
    from cimsim.training.progress import Progress


class Watcher:
    """Shows a training run: a bar in a terminal, else a line per epoch."""

    def __init__(self, epochs: int) -> None:
        self._epochs = epochs
        self._bar = progress_bar("{task.fields[loss]}", "{task.fields[measured]}")
        self._task = self._bar.add_task("preparing", total=None, loss="", measured="")
        self._measure = ACCURACY
        self._drawing = ExitStack()

    def __enter__(self) -> Watcher:
        self._drawing.enter_context(console.drawn(self._bar))
        return self

    def __exit__(self, *error: object) -> None:
        self._drawing.close()

    def start(self, total: int, done: int, measure: Measure = ACCURACY) -> None:
        """Start with ``total`` steps, ``done`` of which are finished."""
        self._measure = measure
        self._bar.update(self._task, total=total, completed=done)

    def step(self, epoch: int, loss: float, measured: float, count: int) -> None:
        """Show ``count`` more steps, and the epoch's means so far."""
        self._bar.update(
            self._task,
            advance=count,
            description=f"epoch {epoch + 1}/{self._epochs}",
            loss=f"loss {loss:.4f}",
            measured=self._measure.text(measured, 1),
        )

    def epoch(self, metrics: dict[str, Any]) -> None:
        """Show the end of an epoch."""
        if self._bar.disable:
            measured = self._measure.text(metrics[self._measure.key])
            done = f"epoch {metrics['epoch']}/{self._epochs}"
            console.log(f"{done}: loss {metrics['train_loss']:.4f}, {measured}")

    def note(self, text: str) -> None:
        """Print a note."""
        console.remark(text)


class Watching:
    """Shows the trainings and evaluations of a comparison, one after the other."""

    def __init__(self) -> None:
        self._shown = ExitStack()
        self._trials: SweepProgress | None = None

    def __enter__(self) -> Watching:
        return self

    def __exit__(self, *error: object) -> None:
        self._shown.close()

    def training(self, name: str, config: TrainConfig) -> Progress:
        """Start to show a training."""
        self._stop()
        console.log(f"{name}:")
        return self._shown.enter_context(Watcher(config.epochs))

    def trial(self, done: int, total: int, doing: str) -> None:
        """Show that a trial of an evaluation is finished."""
        if self._trials is None:
            self._stop()
            self._trials = self._shown.enter_context(counted("evaluation", 10))
        self._trials(done, total, doing)

    def _stop(self) -> None:
        self._shown.close()
        self._trials = None
