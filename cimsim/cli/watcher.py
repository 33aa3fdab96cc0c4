"""Progress of a training: a bar, or lines."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from cimsim.cli import console
from cimsim.cli.progress import progress_bar
from cimsim.training.progress import ACCURACY, Measure


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
