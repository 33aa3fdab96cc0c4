"""Progress reports of a training run."""

from __future__ import annotations

from typing import Any, Protocol


class Progress(Protocol):
    """Receiver of the progress of one run. Steps are counted over the whole run."""

    def start(self, total: int, done: int) -> None:
        """Start a run of ``total`` steps at step ``done`` (above 0 if it is resumed)."""

    def step(self, epoch: int, loss: float, accuracy: float, count: int) -> None:
        """Report ``count`` more steps, with running means of the current epoch."""

    def epoch(self, metrics: dict[str, Any]) -> None:
        """Report the ``metrics`` of a finished epoch, as written to ``metrics.jsonl``."""

    def note(self, text: str) -> None:
        """Report a remark."""


class Silent:
    """Ignores all reports."""

    def start(self, total: int, done: int) -> None:
        """Do nothing."""

    def step(self, epoch: int, loss: float, accuracy: float, count: int) -> None:
        """Do nothing."""

    def epoch(self, metrics: dict[str, Any]) -> None:
        """Do nothing."""

    def note(self, text: str) -> None:
        """Do nothing."""


class Several:
    """Forwards all reports to several receivers, in order."""

    def __init__(self, *watchers: Progress) -> None:
        self._watchers = watchers

    def start(self, total: int, done: int) -> None:
        """Forward the report."""
        for watcher in self._watchers:
            watcher.start(total, done)

    def step(self, epoch: int, loss: float, accuracy: float, count: int) -> None:
        """Forward the report."""
        for watcher in self._watchers:
            watcher.step(epoch, loss, accuracy, count)

    def epoch(self, metrics: dict[str, Any]) -> None:
        """Forward the report."""
        for watcher in self._watchers:
            watcher.epoch(metrics)

    def note(self, text: str) -> None:
        """Forward the report."""
        for watcher in self._watchers:
            watcher.note(text)
