"""The training loop."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cimsim.errors import CimsimError
from cimsim.files import append_line
from cimsim.interrupts import postponed
from cimsim.nn import AnalogLayer, analog_layers, digital, profiles
from cimsim.seeds import generator
from cimsim.training.activation_checkpointing import recompute
from cimsim.training.augment import augmented
from cimsim.training.checkpoint import Checkpoint, save_checkpoint
from cimsim.training.correctors import gradient_truth, make_corrector
from cimsim.training.curvature import Curvature
from cimsim.training.data import BatchLoader
from cimsim.training.held_out import held_out_metrics
from cimsim.training.lone_samples import fewest_samples, split
from cimsim.training.methods import make_method
from cimsim.training.objectives import TrainStep, make_objectives, total, watched
from cimsim.training.optimizers import make_optimizer
from cimsim.training.parallel import Ranks
from cimsim.training.plan import TrainingPlan
from cimsim.training.plateau import PlateauWatch
from cimsim.training.progress import Progress
from cimsim.training.records import METRICS
from cimsim.training.replay import Repeat
from cimsim.training.requirements import require_supported
from cimsim.training.run import (
    CHECKPOINT,
    calibration_batches,
    not_finite,
    refuse_not_finite,
    training_samples,
)
from cimsim.training.schedule import Schedule
from cimsim.training.sharding import shard

CHECKPOINT_SECONDS = 60.0
_STEPS_PER_REPORT = 10
_SMALLEST_STEP = 1e-3  # step of a corrector if all weights are zero


class Trainer:
    """Model, optimizers, position, and sums over the current epoch of one training run.

    Attributes:
        epoch, step: number of finished epochs, and of finished steps of the current one.
        total: steps of the whole run.
        sums: ``[5]``: loss times labels, the task's sum (right answers), labels, and the sum and
            the number of audited gradient truths, over the current epoch and this process.
        schedule: what the method does around each step, with the moving averages.
    """

    def __init__(
        self,
        plan: TrainingPlan,
        out: Path,
        progress: Progress,
        ranks: Ranks,
        device_name: str,
        trust: bool,
    ) -> None:
        self.plan, self.out, self.progress, self.ranks = plan, out, progress, ranks
        self.config, self.data = config, data = plan.config, plan.data
        self.device = device = torch.device(device_name)
        self.model = model = plan.new_model().to(device)
        samples = training_samples(config, data)
        self.smallest = fewest_samples(model, samples[0][:1].to(device))
        self.objectives = make_objectives(config.objective, data.task.objective)
        require_supported(config, data, model, self.objectives, len(samples[0]), self.smallest)
        self.loader = BatchLoader(
            *samples, config.batch_size, shuffle_seed=config.seed, smallest=self.smallest
        )
        self.not_measured = not_finite(model.state_dict())
        self.identity = plan.identity()
        self.metrics_hash = hashlib.sha256()  # of the lines of finished epochs
        recompute(model, config.recompute)
        self.plateau = PlateauWatch(model)
        shared = config.parallel == "shard" and ranks.count > 1
        self.mesh = shard(model, device) if shared else None
        self.optimizers = make_optimizer(config.optimizer).build(
            model, config.lr, config.weight_decay
        )
        self.epoch = 0
        self.step = 0
        self.sums = torch.zeros(5, dtype=torch.float64, device=device)
        self.total = config.epochs * len(self.loader)
        self.corrector = None if config.corrector is None else make_corrector(config.corrector)
        method = make_method(config, profiles(model))
        self.schedule = Schedule(model, method, config, self.total)
        curved = any(objective.wants_curvature for objective in self.objectives)
        self.curvature = Curvature(model) if curved else None
        for objective in self.objectives:
            objective.prepare(model, config.data_dir, trust)

    def run(self) -> None:
        """Train for the remaining epochs."""
        done = self.epoch * len(self.loader) + self.step
        self.progress.start(self.total, done, self.data.task.measure)
        while self.epoch < self.config.epochs:
            self._run_epoch()

    def _run_epoch(self) -> None:
        began = saved = time.monotonic()
        self.model.train()
        if self.step == 0:
            self.plateau.begin()
        for x, y in self.loader.epoch(self.epoch, self.step):
            with postponed():
                self._train_step(x.to(self.device), y.to(self.device))
                self.step += 1
            if self.step % _STEPS_PER_REPORT == 0:
                self._report(_STEPS_PER_REPORT)
            if self._due(time.monotonic() - saved > CHECKPOINT_SECONDS):
                self._save()
                saved = time.monotonic()
        self._report(self.step % _STEPS_PER_REPORT)
        self._end_epoch(time.monotonic() - began)

    def _train_step(self, x: Tensor, y: Tensor) -> None:
        at = self.epoch * len(self.loader) + self.step
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                peak = self.config.lr * group.get("lr_factor", 1.0)
                group["lr"] = peak * 0.5 * (1 + math.cos(math.pi * at / self.total))
        if self.schedule.calibrates(at, epoch_starts=self.step == 0):
            self.ranks.share_measured(self.model)
            self.schedule.calibrate(at, self._calibration())
        self.schedule.advance(at)
        whole_y = y
        x, y, share = self.ranks.share(self._augmented(x, at), y, self.smallest)
        scale = share * self.ranks.count
        self.model.zero_grad(set_to_none=True)
        for some_x, some_y in split(x, y, self.config.accumulate, self.smallest):
            taken = self._forward(some_x, some_y, at)
            self._backward(taken, len(some_x) / len(x) * scale)
        self.ranks.average_gradients(self.model)
        self._smooth(taken, len(x), whole_y)
        self._correct(taken, at, share)
        for optimizer in self.optimizers:
            optimizer.step()
        if at == 0:  # steps of quantizers, which the first batch may have set
            self.ranks.share_measured(self.model)
        self.schedule.after_step(at)

    def _augmented(self, x: Tensor, at: int) -> Tensor:
        if not self.config.augment:
            return x
        return augmented(x, self.config.augment, generator("augment", self.config.seed, at))

    def _forward(self, x: Tensor, y: Tensor, at: int) -> TrainStep:
        """Run the forward pass; return it with everything that objectives may use."""
        repeat = Repeat(self.model, self.device)

        @contextmanager
        def on_chip(chip: int = 0, louder: float = 1.0) -> Iterator[None]:
            setting = self.schedule.setting(at, chip, louder)
            with repeat.again(chip), setting, self._precision():
                yield

        @contextmanager
        def plain() -> Iterator[None]:
            with repeat.again(), digital(self.model), self._precision():
                yield

        with (
            watched(self.objectives, self.model),
            self.schedule.setting(at),
            self._precision(),
        ):
            logits = self.model(x)
        return TrainStep(
            model=self.model,
            x=x,
            y=y,
            logits=logits,
            repeated=on_chip,
            plain=plain,
            strength=self.schedule.strength(at) if self.schedule.method.noisy else 1.0,
            number=at,
            task=self.data.task,
            draws=self._draws(at),
            curvature=(lambda _: None) if self.curvature is None else self.curvature.of,
            other_chip=on_chip,
        )

    def _precision(self) -> AbstractContextManager[object]:
        if self.config.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def _draws(self, at: int) -> torch.Generator:
        return generator("objective", self.config.seed, at, device=self.device)

    def _backward(self, taken: TrainStep, part: float) -> None:
        """Add gradients of all terms but curvature-weighted ones, scaled by ``part``."""
        loss = total((o for o in self.objectives if not o.wants_curvature), taken)
        (loss * part).backward()
        gained = self.data.task.sum(taken.logits.detach(), taken.y)
        count = gained.new_tensor(taken.y.numel())
        self.sums[:3] += torch.stack((loss.detach() * count, gained, count))

    def _smooth(self, taken: TrainStep, samples: int, whole_y: Tensor) -> None:
        """Add gradients of curvature-weighted terms, which the curvature estimate excludes.

        ``whole_y`` are the labels of the whole batch, over all processes.
        """
        if self.curvature is None:
            return
        self.curvature.update(self.data.task.labels(whole_y))
        loss = total((o for o in self.objectives if o.wants_curvature), taken)
        if loss.requires_grad:
            loss.backward()
        self.sums[0] += loss.detach() * samples * taken.y[0].numel()

    def _correct(self, taken: TrainStep, at: int, share: float) -> None:
        """Evaluate the loss around the weights where a corrector or an audit is due."""
        progress = at / self.total
        corrects = self.corrector is not None and progress >= self.corrector.start
        audits = self.config.audit and at % self.config.audit == 0
        if not (corrects or audits):
            return
        layers = analog_layers(self.model).values()
        weights = [layer.weight for layer in layers]

        def here(chip: int = 0) -> TrainStep:
            with watched(self.objectives, self.model):
                logits = taken.again() if chip == 0 else taken.on_chip(chip)
            return replace(taken, logits=logits, draws=self._draws(at))

        def loss() -> Tensor:
            with torch.no_grad():
                return self.ranks.total(total(self.objectives, here()).double() * share)

        if audits:
            truth = gradient_truth(weights, loss)
            self.sums[3:] += self.sums.new_tensor((truth, 1.0)) * self.ranks.first
        if not corrects:
            return
        assert self.corrector is not None
        draws = generator("corrector", self.config.seed, at, device=self.device)
        if self.corrector.differentiates:
            scale = share * self.ranks.count
            chip = int(self.corrector.other_chip)
            trained = [p for p in self.model.parameters() if p.requires_grad]
            self.corrector.correct(
                trained, lambda: total(self.objectives, here(chip)) * scale, (), draws, progress
            )
            self.ranks.average_gradients(self.model)
            return
        reach = 1.0 if self.corrector.surrogate == "identity" else 0.5  # of a sign's two levels
        steps = [reach * _step_size(layer) for layer in layers]
        self.corrector.correct(weights, loss, steps, draws, progress)

    def _calibration(self) -> Iterator[Tensor]:
        return calibration_batches(self.config, self.data, self.device)

    def _means(self) -> tuple[float, float]:
        loss, gained, labels = self.ranks.total(self.sums[:3].clone()).tolist()
        return loss / max(labels, 1), self.data.task.measured(gained, labels)

    def _report(self, steps: int) -> None:
        loss, measured = self._means()
        if not math.isfinite(loss):
            raise CimsimError(
                f"the loss became {loss} in epoch {self.epoch + 1}, step {self.step}; "
                "try a smaller --lr, or check the data for NaN"
            )
        if steps:
            self.progress.step(self.epoch, loss, measured, steps)

    def _end_epoch(self, seconds: float) -> None:
        loss, measured = self._means()
        metrics: dict[str, Any] = {
            "epoch": self.epoch + 1,
            "train_loss": loss,
            self.data.task.measure.key: measured,
            "noise_strength": self.schedule.strength((self.epoch + 1) * len(self.loader) - 1),
            "seconds": round(seconds, 3),
        }
        metrics |= held_out_metrics(self)
        if self.config.audit:
            truths, audits = self.sums[3:].tolist()
            metrics["gradient_truth"] = truths / audits if audits else None
        movement, remark = self.plateau.end(loss)
        if movement is not None:
            metrics.update(asdict(movement))
        if remark is not None:
            self.progress.note(remark)
        if self.ranks.first:
            line = json.dumps(metrics)
            append_line(self.out / METRICS, line)
            self.metrics_hash.update(f"{line}\n".encode())
        self.epoch, self.step = self.epoch + 1, 0
        self.sums = torch.zeros_like(self.sums)
        self._save()
        self.progress.epoch(metrics)

    def _due(self, due: bool) -> bool:
        """Return whether to save now; of several processes the first decides, every few steps."""
        if self.ranks.count > 1 and self.step % _STEPS_PER_REPORT:
            return False
        return self.ranks.decide(due)

    def _save(self) -> None:
        model = self.model.state_dict()
        diverged = f"the training diverged in epoch {self.epoch + (self.step > 0)}"
        refuse_not_finite(model, self.not_measured, diverged)
        checkpoint = Checkpoint(
            epoch=self.epoch,
            step=self.step,
            model=model,
            optimizers=[optimizer.state_dict() for optimizer in self.optimizers],
            sums=self.ranks.total(self.sums.clone()),
            average=self.schedule.average,
            curvature=[] if self.curvature is None else self.curvature.state(),
            rng=self.ranks.gather(torch.get_rng_state()),
            plateau=self.plateau.state(),
            run=self.identity,
            metrics_sha256=self.metrics_hash.hexdigest(),
        )
        save_checkpoint(checkpoint, self.out / CHECKPOINT, self.ranks)


def _step_size(layer: AnalogLayer) -> float:
    """Step of a corrector: the distance between weight levels, or a tenth of the weight's RMS."""
    quantizer, weight = layer.weight_quantizer, layer.to_matrix(layer.weight.detach())
    step = None if quantizer is None else quantizer.step_size(weight)
    return step or 0.1 * float(weight.square().mean().sqrt()) or _SMALLEST_STEP
