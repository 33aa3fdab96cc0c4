"""Noise-aware training with the ``Trainer`` of Hugging Face's ``transformers``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from cimsim.errors import CimsimError
from cimsim.files import replacing
from cimsim.integrations.over_chips import LOWER_IS_BETTER, ChipMetrics, checked_settings
from cimsim.nn.forms import inner_module
from cimsim.training.noise_aware import NoiseAware

FILE = "noise_aware.safetensors"


class NoiseAwareCallback(TrainerCallback):
    """Noise-aware training in a :class:`transformers.Trainer` of a converted model.

    The model is trained as by :class:`cimsim.NoiseAware`, over the optimizer steps of the trainer::

        trainer = Trainer(model=model, args=args, train_dataset=train, eval_dataset=test)
        trainer.add_callback(NoiseAwareCallback(trainer, chips=5, noise=2.0, calibration=batches))
        trainer.train()

    Each evaluation of the trainer computes its metrics as the model is programmed, and then over
    ``chips`` chips, as ``eval_chip_loss_mean``, ``eval_chip_loss_std``, ``eval_chip_loss_worst``
    and so on. These are logged, and can be the trainer's ``metric_for_best_model``.

    Every checkpoint of the trainer also has the file ``noise_aware.safetensors``, with the position
    in the schedule and the averages; ranges and numbers of chips are part of the model.
    ``trainer.train(resume_from_checkpoint=True)`` continues with it.

    Args:
        trainer: the trainer that the callback is added to.
        chips: number of chips to evaluate over, numbered from 0; 0 for none.
        chip_age: age of these chips.
        lower_is_better: endings of the names of metrics whose worst value is the largest.
        settings: settings of :class:`cimsim.NoiseAware`, except ``steps``.

    Attributes:
        noise_aware: the current or last training's :class:`cimsim.NoiseAware`; None before.
    """

    def __init__(
        self,
        trainer: Trainer,
        *,
        chips: int = 0,
        chip_age: str | float | timedelta = "0s",
        lower_is_better: Sequence[str] = LOWER_IS_BETTER,
        **settings: Any,
    ) -> None:
        self.trainer = trainer
        self.noise_aware: NoiseAware | None = None
        self._metrics = ChipMetrics(chips, chip_age, lower_is_better)
        self._settings = checked_settings(settings)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any
    ) -> None:
        """Start the schedule, or continue it from the checkpoint of the trainer."""
        if self.noise_aware is not None:
            self.noise_aware.detach()  # of a training that was interrupted
        if self._settings.get("average") and args.load_best_model_at_end:
            raise CimsimError(
                "load_best_model_at_end loads the weights of a checkpoint, and average= replaces "
                "them with the average at the end; use one of them"
            )
        self.noise_aware = NoiseAware(others["model"], state.max_steps, **self._settings)
        if state.global_step:
            folder = Path(str(args.output_dir), f"checkpoint-{state.global_step}")
            self.noise_aware.load_state_dict(_read(folder / FILE))

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any
    ) -> None:
        """Proceed by one step."""
        assert self.noise_aware is not None
        self.noise_aware.step()

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any
    ) -> None:
        """Evaluate over chips, and add the results to the metrics of the trainer."""
        if not self._metrics.chips:
            return
        trainer, metrics = self.trainer, others["metrics"]
        losses = [name for name in metrics if name.endswith("_loss")]
        prefix = losses[0].removesuffix("_loss") if losses else "eval"

        def evaluate() -> dict[str, float]:
            output = trainer.evaluation_loop(
                others["eval_dataloader"],
                description="Evaluation over chips",
                prediction_loss_only=True if trainer.compute_metrics is None else None,
                metric_key_prefix=prefix,
            )
            of_chip = output.metrics or {}
            return {name: value for name, value in of_chip.items() if name in metrics}

        measured = self._metrics.measure(inner_module(others["model"]), evaluate, f"{prefix}_")
        trainer.log(dict(measured))
        metrics.update(measured)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any
    ) -> None:
        """Write the schedule's state into the checkpoint of the trainer."""
        folder = Path(str(args.output_dir), f"checkpoint-{state.global_step}")
        if self.noise_aware is not None and state.is_world_process_zero and folder.is_dir():
            _write(self.noise_aware.state_dict(), folder / FILE)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any
    ) -> None:
        """Finish the training, with the batches of ``calibration``."""
        assert self.noise_aware is not None
        self.noise_aware.finish()


def _write(state: dict[str, Any], path: Path) -> None:
    average = {str(n): mean.contiguous() for n, mean in enumerate(state["average"])}
    rest = {name: value for name, value in state.items() if name != "average"}
    with replacing(path) as temporary:
        save_file(average, str(temporary), metadata={"state": json.dumps(rest)})


def _read(path: Path) -> dict[str, Any]:
    """Read a file of :func:`_write`.

    Raises:
        CimsimError: if it is missing or damaged.
    """
    if not path.is_file():
        raise CimsimError(
            f"{path} does not exist, so the training cannot be resumed: resume from a checkpoint "
            "in the trainer's output_dir that was written with NoiseAwareCallback"
        )
    try:
        with safe_open(str(path), "pt") as file:
            average: list[Tensor] = [file.get_tensor(str(n)) for n in range(len(file.keys()))]
            return {**json.loads(file.metadata()["state"]), "average": average}
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise CimsimError(f"{path} is damaged: {error}; resume from another checkpoint") from None
