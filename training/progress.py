"""What a training run tells whoever watches."""

from __future__ import annotations

from typing import Any, Protocol


class Progress(Protocol):
    """A watcher of one run. Steps are counted over the whole run, ``total`` of them."""

    def start(self, total: int, done: int) -> None:
        """The run begins at step ``done`` (more than 0 when it is resumed)."""

    def step(self, epoch: int, loss: float, accuracy: float, count: int) -> None:
        """``count`` more steps are done; running means of the current epoch so far."""

    def epoch(self, metrics: dict[str, Any]) -> None:
        """An epoch has ended with ``metrics``, as they stand in ``metrics.jsonl``."""

    def note(self, text: str) -> None:
        """Something else worth a line."""


class Silent:
    """Watches nothing."""

    def start(self, total: int, done: int) -> None:
        """Nothing."""

    def step(self, epoch: int, loss: float, accuracy: float, count: int) -> None:
        """Nothing."""

    def epoch(self, metrics: dict[str, Any]) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""


class Several:
    """Tells several watchers the same, in their order."""

    def __init__(self, *watchers: Progress) -> None:
        self._watchers = watchers

    def start(self, total: int, done: int) -> None:
        """Tell all of them."""
        for watcher in self._watchers:
            watcher.start(total, done)

    def step(self, epoch: int, loss: float, accuracy: float, count: int) -> None:
        """Tell all of them."""
        for watcher in self._watchers:
            watcher.step(epoch, loss, accuracy, count)

    def epoch(self, metrics: dict[str, Any]) -> None:
        """Tell all of them."""
        for watcher in self._watchers:
            watcher.epoch(metrics)

    def note(self, text: str) -> None:
        """Tell all of them."""
        for watcher in self._watchers:
            watcher.note(text)
