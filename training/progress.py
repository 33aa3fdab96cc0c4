"""Progress reports of a training run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Measure:
    """The number shown next to the loss during training.

    Attributes:
        name: name in files, as in ``train_accuracy``.
        title: name in words.
        percent: whether it is printed in percent.
    """

    name: str
    title: str
    percent: bool

    @property
    def key(self) -> str:
        """Key in ``metrics.jsonl``."""
        return f"train_{self.name}"

    @property
    def heading(self) -> str:
        """Title with unit: ``accuracy in %``."""
        return f"{self.title} in %" if self.percent else self.title

    @property
    def factor(self) -> float:
        """Factor from the number to the printed one."""
        return 100.0 if self.percent else 1.0

    def text(self, value: float, decimals: int = 2) -> str:
        """Return title and value.

        >>> ACCURACY.text(0.975), RMSE.text(54.3219)
        ('accuracy 97.50 %', 'RMSE 54.32')
        """
        if self.percent:
            return f"{self.title} {100 * value:.{decimals}f} %"
        return f"{self.title} {value:.4g}"


ACCURACY = Measure("accuracy", "accuracy", percent=True)
RMSE = Measure("rmse", "RMSE", percent=False)


class Progress(Protocol):
    """Receiver of the progress of one run. Steps are counted over the whole run."""

    def start(self, total: int, done: int, measure: Measure = ACCURACY) -> None:
        """Start a run of ``total`` steps at step ``done`` (above 0 if it is resumed).

        ``measure`` is the number that :meth:`step` gets besides the loss.
        """

    def step(self, epoch: int, loss: float, measured: float, count: int) -> None:
        """Report ``count`` more steps, with running means of the current epoch."""

    def epoch(self, metrics: dict[str, Any]) -> None:
        """Report the ``metrics`` of a finished epoch, as written to ``metrics.jsonl``."""

    def note(self, text: str) -> None:
        """Report a remark."""


class Silent:
    """Ignores all reports."""

    def start(self, total: int, done: int, measure: Measure = ACCURACY) -> None:
        """Do nothing."""

    def step(self, epoch: int, loss: float, measured: float, count: int) -> None:
        """Do nothing."""

    def epoch(self, metrics: dict[str, Any]) -> None:
        """Do nothing."""

    def note(self, text: str) -> None:
        """Do nothing."""


class Several:
    """Forwards all reports to several receivers, in order."""

    def __init__(self, *watchers: Progress) -> None:
        self._watchers = watchers

    def start(self, total: int, done: int, measure: Measure = ACCURACY) -> None:
        """Forward the report."""
        for watcher in self._watchers:
            watcher.start(total, done, measure)

    def step(self, epoch: int, loss: float, measured: float, count: int) -> None:
        """Forward the report."""
        for watcher in self._watchers:
            watcher.step(epoch, loss, measured, count)

    def epoch(self, metrics: dict[str, Any]) -> None:
        """Forward the report."""
        for watcher in self._watchers:
            watcher.epoch(metrics)

    def note(self, text: str) -> None:
        """Forward the report."""
        for watcher in self._watchers:
            watcher.note(text)
