"""Noise-aware training with the ``Trainer`` of Lightning."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from cimsim.errors import CimsimError
from cimsim.integrations.over_chips import LOWER_IS_BETTER, ChipMetrics, checked_settings
from cimsim.training.noise_aware import NoiseAware


class NoiseAwareCallback(Callback):
    """Noise-aware training of a module of Lightning that contains a converted model.

    The model is trained as by :class:`cimsim.NoiseAware`, over the optimizer steps of the trainer::

        trainer = Trainer(callbacks=[NoiseAwareCallback(chips=5, noise=2.0, calibration=batches)])
        trainer.fit(module, train_loader, test_loader)

    After each validation, a copy of the module is validated over ``chips`` chips; for a metric
    ``val_acc``, it logs ``chip_val_acc_mean``, ``chip_val_acc_std`` and ``chip_val_acc_worst``,
    which a ``ModelCheckpoint`` can monitor.

    The checkpoints of the trainer contain the position in the schedule and the averages;
    ``trainer.fit(module, …, ckpt_path=…)`` continues with them.

    Args:
        steps: number of optimizer steps; by default the trainer's number, which cannot be
            determined for loaders without a length.
        chips: number of chips to validate over, numbered from 0; 0 for none. In one process only.
        chip_age: age of these chips.
        lower_is_better: endings of the names of metrics whose worst value is the largest.
        settings: settings of :class:`cimsim.NoiseAware`, except ``steps``. A module without its own
            ``forward`` needs ``forward=``.

    Attributes:
        noise_aware: the current or last training's :class:`cimsim.NoiseAware`; None before.
    """

    def __init__(
        self,
        *,
        steps: int | None = None,
        chips: int = 0,
        chip_age: str | float | timedelta = "0s",
        lower_is_better: Sequence[str] = LOWER_IS_BETTER,
        **settings: Any,
    ) -> None:
        super().__init__()
        self.noise_aware: NoiseAware | None = None
        self._steps = steps
        self._metrics = ChipMetrics(chips, chip_age, lower_is_better)
        self._settings = checked_settings(settings)
        self._loaded: Mapping[str, Any] | None = None
        self._seen = 0  # of the trainer's optimizer steps

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the schedule, or continue it from the checkpoint of the trainer."""
        if self._metrics.chips and trainer.world_size > 1:
            raise CimsimError(
                f"chips={self._metrics.chips} evaluates in one process, and there are "
                f"{trainer.world_size}; use chips=0, and cimsim.sweep after the training"
            )
        self.detach()
        steps = trainer.estimated_stepping_batches if self._steps is None else self._steps
        if not isinstance(steps, int):
            raise CimsimError(
                "the trainer's number of steps is not known, because it has no limit of epochs or "
                "steps, or the loader has no length; pass NoiseAwareCallback(steps=…)"
            )
        self.noise_aware = NoiseAware(pl_module, steps, **self._settings)
        self._continue()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember the position of the trainer, which is not 0 if it resumes."""
        self._seen = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *arguments: Any, **named: Any
    ) -> None:
        """Proceed by one step, if the optimizer did."""
        assert self.noise_aware is not None
        if trainer.global_step > self._seen:
            self.noise_aware.step()
        self._seen = trainer.global_step

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Validate a copy over chips, and log the results."""
        if not self._metrics.chips or trainer.sanity_checking:
            return
        # A copy, because Lightning sums the metrics up within the module and its trainer.
        replica = copy.deepcopy(pl_module)

        def evaluate() -> Mapping[str, float]:
            loaders = trainer.val_dataloaders
            results = evaluator.validate(replica, dataloaders=loaders, verbose=False)
            return {name: value for one in results for name, value in one.items()}

        with _silent():
            evaluator = _evaluator(trainer)
            measured = self._metrics.measure(replica, evaluate, "")
        pl_module.log_dict(measured)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Finish the training, with the batches of ``calibration``."""
        assert self.noise_aware is not None
        self.noise_aware.finish()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """End the training; the module trains on its own profile again."""
        self.detach()

    def detach(self) -> None:
        """End a training that was interrupted, as :meth:`cimsim.NoiseAware.detach` does."""
        if self.noise_aware is not None:
            self.noise_aware.detach()

    def state_dict(self) -> dict[str, Any]:
        """The state of :class:`cimsim.NoiseAware`, for the checkpoint of the trainer."""
        return {} if self.noise_aware is None else self.noise_aware.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a state of :meth:`state_dict`, now or when the training starts."""
        self._loaded = state_dict or None
        if self.noise_aware is not None and self.noise_aware.active:
            self._continue()

    def _continue(self) -> None:
        if self._loaded is not None:
            assert self.noise_aware is not None
            self.noise_aware.load_state_dict(self._loaded)
        self._loaded = None


@contextmanager
def _silent() -> Iterator[None]:
    """Log no information about the devices of another trainer."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _evaluator(trainer: Trainer) -> Trainer:
    """Return a trainer that validates as ``trainer`` does, and writes and prints nothing."""
    device = trainer.strategy.root_device
    return Trainer(
        accelerator="gpu" if device.type == "cuda" else device.type,
        devices=1 if device.index is None else [device.index],
        precision=trainer.precision,
        limit_val_batches=trainer.limit_val_batches,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
