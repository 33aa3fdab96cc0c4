"""Experiment trackers."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cimsim.errors import CimsimError
from cimsim.files import make_folder
from cimsim.suggest import unknown
from cimsim.training.progress import ACCURACY, Measure

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

FOLDER = "tensorboard"


class TensorBoard:
    """Logs a run to ``RUN/tensorboard``: losses during an epoch, all metrics after each epoch.

    Steps are counted over the whole run. Entries after the step from which a run is resumed are
    replaced.

    Raises:
        CimsimError: if TensorBoard is not installed.
    """

    def __init__(self, run: Path) -> None:
        if find_spec("tensorboard") is None:
            raise CimsimError(
                "TensorBoard is not installed; install it with pip install tensorboard"
            )
        self._folder = run / FOLDER
        self._writer: SummaryWriter | None = None
        self._at = 0
        self._measure = ACCURACY

    def start(self, total: int, done: int, measure: Measure = ACCURACY) -> None:
        """Start or resume the run at step ``done``."""
        self._measure = measure
        # Slow to import, and the run's folder must not exist before the run creates it.
        from torch.utils.tensorboard import SummaryWriter

        later = done + 1 if done else None
        make_folder(self._folder)
        self._writer, self._at = SummaryWriter(str(self._folder), purge_step=later), done

    def step(self, epoch: int, loss: float, measured: float, count: int) -> None:
        """Log the running means of the epoch."""
        self._at += count
        self._log({"running/loss": loss, f"running/{self._measure.name}": measured})

    def epoch(self, metrics: dict[str, Any]) -> None:
        """Log all metrics of a finished epoch."""
        self._log({f"epoch/{name}": value for name, value in metrics.items() if name != "epoch"})
        if self._writer is not None:
            self._writer.flush()

    def note(self, text: str) -> None:
        """Do nothing, because a remark has no numbers."""

    def close(self) -> None:
        """Write the remaining entries."""
        if self._writer is not None:
            self._writer.close()

    def _log(self, values: dict[str, Any]) -> None:
        assert self._writer is not None
        for name, value in values.items():
            if value is not None:
                self._writer.add_scalar(name, value, self._at)


TRACKERS = {"tensorboard": TensorBoard}


def make_tracker(name: str, run: Path) -> TensorBoard:
    """Build the tracker ``name`` for the run in the folder ``run``.

    Raises:
        CimsimError: if there is no such tracker, or it is not installed.
    """
    if name not in TRACKERS:
        raise CimsimError(unknown("tracker", name, TRACKERS))
    return TRACKERS[name](run)
