"""The training loop, from configuration to finished run."""

from __future__ import annotations

import hashlib
import json
import math
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import asdict, replace
from fnmatch import fnmatch
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cimsim import __version__
from cimsim.errors import CimsimError
from cimsim.nn import (
    AnalogLayer,
    ColumnDenoiser,
    age,
    analog_layers,
    calibrate,
    devices,
    digital,
    program,
    set_profile,
)
from cimsim.nn.computed import computed
from cimsim.profile import Profile, dump_profile, fingerprint, load_profile
from cimsim.seeds import generator, seed_for
from cimsim.training.activation_checkpointing import recompute
from cimsim.training.augment import augmented
from cimsim.training.checkpoint import (
    Checkpoint,
    check_state,
    load_checkpoint,
    remove_checkpoint,
    save_checkpoint,
    unreadable,
)
from cimsim.training.config import TrainConfig, dump_config, read_config
from cimsim.training.correctors import gradient_truth, make_corrector
from cimsim.training.curvature import Curvature
from cimsim.training.data import BatchLoader, load_data
from cimsim.training.device import working_device
from cimsim.training.evaluate import evaluate
from cimsim.training.files import (
    PART,
    append_line,
    locked,
    make_folder,
    read_file,
    remove_leftovers,
    sha256_of,
    write_text,
)
from cimsim.training.layer_options import Layers, parse_layers, with_profiles
from cimsim.training.lone_samples import fewest_samples, split
from cimsim.training.manifest import SUMS, hash_of, read_sums, write_sums
from cimsim.training.methods import make_method
from cimsim.training.objectives import Objective, Step, make_objectives, total, watched
from cimsim.training.optimizers import make_optimizer
from cimsim.training.parallel import Ranks, joined
from cimsim.training.plateau import PlateauWatch
from cimsim.training.progress import Progress, Silent
from cimsim.training.records import ENV, METRICS, RESULT
from cimsim.training.replay import Repeat
from cimsim.training.run import (
    CHECKPOINT,
    CONFIG,
    LAYER,
    LOCK,
    MODEL,
    PROFILE,
    Run,
    calibration_batches,
    new_model,
    not_finite,
    read_layers,
    read_profile,
    refuse_not_finite,
    save_weights,
    training_samples,
)
from cimsim.training.sharding import parted, parted_states, shard, whole_state
from cimsim.training.weights import clip_weights, reestimate_statistics

CHECKPOINT_SECONDS = 60.0
_STEPS_PER_REPORT = 10
_BATCHNORM_BATCHES = 50
_PLACES = ("profile", "layer", "data_dir", "parallel")  # may have moved since a run began
_SMALLEST_STEP = 1e-3  # of a corrector, around weights that are all zero


def fit(
    config: TrainConfig,
    out: Path,
    *,
    resume: bool = False,
    progress: Progress | None = None,
    trust: bool = False,
) -> Run:
    """Train what ``config`` says, in the folder ``out``, and return the finished run.

    A run that was stopped at any moment and is resumed ends with the same weights, bit for bit on a
    CPU, as one that was not.

    The model that ``config`` names is imported where it is a function of the caller's own
    (``package.module:function``). With ``trust``, so are those that files name: the run of a
    distillation's teacher.

    Raises:
        CimsimError: for bad settings or data, for a folder that already holds a run (unless
            ``resume``) or in which another process trains, for settings that differ from the run
            that is to be resumed, for a damaged file of it, and for a loss that is not finite.
    """
    with joined(working_device(config.device)) as (ranks, device):
        progress = progress if progress is not None and ranks.first else Silent()
        training = _Training(config, out, progress, ranks, device, trust)
        with ExitStack() as held:
            if ranks.first:
                held.enter_context(_claimed(out, training, resume))
            ranks.wait()
            if ranks.decide((out / RESULT).is_file()):
                progress.note(f"the run in {out} is already finished")
                return Run.open(out, trust=True)  # the caller named its model
            if config.parallel == "shard" and training.mesh is None:
                progress.note("one process alone holds the whole model; start more by torchrun")
            training.resume_if_possible()
            training.run()
            if ranks.first or training.mesh is not None:
                _finish(training)
            ranks.wait()
            return Run.open(out, trust=True)


def check(config: TrainConfig, trust: bool = False) -> None:
    """Refuse what :func:`fit` would refuse before it writes anything.

    Raises:
        CimsimError: as :func:`fit`.
    """
    _Training(config, Path(), Silent(), Ranks(), working_device(config.device), trust)


class _Training:
    """The loop's moving parts: model, optimiser, position, and sums of the current epoch."""

    def __init__(
        self,
        config: TrainConfig,
        out: Path,
        progress: Progress,
        ranks: Ranks,
        device_name: str,
        trust: bool,
    ) -> None:
        self.config, self.out, self.progress, self.ranks = config, out, progress, ranks
        self.profile = load_profile(config.profile, config.overrides)
        self.layers = with_profiles(parse_layers(config.layer))
        self.data = data = load_data(config.data, config.data_dir)
        self.device = device = torch.device(device_name)
        what = (config, self.profile, self.layers, data, config.start)
        self.model = model = new_model(*what).to(device)
        self.devices = devices(model)
        self.method = make_method(config, self.devices)
        samples = training_samples(config, data)
        self.smallest = fewest_samples(model, samples[0][:1].to(device))
        _refuse_lone_samples(config, len(samples[0]), self.smallest)
        self.loader = BatchLoader(
            *samples, config.batch_size, shuffle_seed=config.seed, smallest=self.smallest
        )
        self.not_measured = not_finite(model.state_dict())
        self.identity = _identity(config, self.profile, self.layers, data.fingerprint)
        self.metrics_hash = hashlib.sha256()  # of the lines of finished epochs
        recompute(model, config.recompute)
        self.objectives = make_objectives(config.objective)
        _refuse_parts(config, self.objectives)
        _refuse_computed_weights(config, self.objectives, model)
        self.plateau = PlateauWatch(model)
        shared = config.parallel == "shard" and ranks.count > 1
        self.mesh = shard(model, device) if shared else None
        self.optimizers = _optimizers(config, model)
        self.epoch = 0
        self.step = 0
        self.sums = torch.zeros(5, dtype=torch.float64, device=device)
        self.total = config.epochs * len(self.loader)
        self.corrector = None if config.corrector is None else make_corrector(config.corrector)
        self.average = [p.detach().clone() for p in model.parameters()] if config.average else []
        wanted = any(objective.wants_curvature for objective in self.objectives)
        self.curvature = Curvature(model) if wanted else None
        if config.augment and data.train_x.dim() != 4:
            raise CimsimError(f"augment: the data set '{data.name}' has no images; leave it out")
        if config.accumulate > 1 and (config.corrector or config.audit):
            raise CimsimError("correctors and audits look at a whole step; leave out accumulate")
        for objective in self.objectives:
            objective.prepare(model, config.data_dir, trust)

    def resume_if_possible(self) -> None:
        """Go to where the run's checkpoint stands; to the start, where there is none.

        Raises:
            CimsimError: if the checkpoint or the metrics are damaged or of another run.
        """
        seed, rank = self.config.seed, self.ranks.rank
        torch.manual_seed(seed if rank == 0 else seed_for("rank", seed, rank))
        path = self.out / CHECKPOINT
        saved = None
        if path.exists():
            saved = load_checkpoint(path, self.device, self.mesh)
            try:
                self._refuse_foreign(saved)
                self._take(saved)
            except (RuntimeError, ValueError, KeyError, TypeError) as error:
                raise unreadable(path, f"it is of another run or damaged: {error}") from None
        if self.ranks.first:
            known = "" if saved is None else saved.metrics_sha256
            kept = _keep_lines(self.out / METRICS, self.epoch, known)
            self.metrics_hash = hashlib.sha256(kept)
        if saved is not None:
            self.progress.note(f"resumed at epoch {self.epoch + 1}, step {self.step}")

    def _refuse_foreign(self, saved: Checkpoint) -> None:
        """Refuse a checkpoint that this run cannot have written, before anything of it is taken.

        Raises:
            ValueError: which says what does not fit.
        """
        if saved.run and saved.run != self.identity:
            raise ValueError("its settings, device or data are others")
        done = saved.epoch * len(self.loader) + saved.step
        if not (done <= self.total and saved.step <= len(self.loader)):
            raise ValueError(f"epoch {saved.epoch}, step {saved.step} is beyond the run's end")
        if saved.sums.shape != self.sums.shape or not bool(saved.sums.isfinite().all()):
            raise ValueError("the sums of its epoch are no five numbers")
        for what, new, found in (
            ("average", self.average, saved.average),
            ("curvature", self.curvature.state() if self.curvature else [], saved.curvature),
        ):
            if len(new) != len(found):
                raise ValueError(f"it holds {len(found)} tensors of {what}, not {len(new)}")
            check_state(dict(enumerate(new)), dict(enumerate(found)), f"{what} ")
        check_state(self.model.state_dict(), saved.model)
        damaged = f"{self.out / CHECKPOINT} is damaged"
        refuse_not_finite(saved.model, self.not_measured, damaged)
        if len(saved.optimizers) != len(self.optimizers):
            raise ValueError(f"it holds {len(saved.optimizers)} optimizers")
        for optimizer, state in zip(self.optimizers, saved.optimizers, strict=True):
            _check_optimizer(optimizer, state)

    def _take(self, saved: Checkpoint) -> None:
        """Go to where ``saved`` stands."""
        now = self.model.state_dict()
        self.model.load_state_dict(
            {name: parted(tensor, now.get(name)) for name, tensor in saved.model.items()}
        )
        states = parted_states(saved.optimizers, self.optimizers)
        for optimizer, state in zip(self.optimizers, states, strict=True):
            optimizer.load_state_dict(state)
        self.epoch, self.step = saved.epoch, saved.step
        if self.ranks.first:
            self.sums = saved.sums
        self.average = [
            parted(mean, parameter)
            for mean, parameter in zip(saved.average, self.model.parameters(), strict=False)
        ]
        if self.curvature is not None:
            self.curvature.load(saved.curvature)
        self.plateau.load(saved.plateau, within=self.step > 0)
        seed, rank = self.config.seed, self.ranks.rank
        if rank < len(saved.rng):
            torch.set_rng_state(saved.rng[rank].cpu())
        else:  # there are more processes than before
            torch.manual_seed(seed_for("rank", seed, rank, self.epoch, self.step))

    def run(self) -> None:
        """Every epoch that is left."""
        self.progress.start(self.total, self.epoch * len(self.loader) + self.step)
        while self.epoch < self.config.epochs:
            self._run_epoch()

    def _run_epoch(self) -> None:
        began = saved = time.monotonic()
        self.model.train()
        if self.step == 0:
            self.plateau.begin()
        for x, y in self.loader.epoch(self.epoch, self.step):
            self._train_step(x.to(self.device), y.to(self.device))
            self.step += 1
            if self.step % _STEPS_PER_REPORT == 0:
                self._report(_STEPS_PER_REPORT)
            if self._agree(time.monotonic() - saved > CHECKPOINT_SECONDS):
                self._save()
                saved = time.monotonic()
        self._report(self.step % _STEPS_PER_REPORT)
        self._end_epoch(time.monotonic() - began)

    def _train_step(self, x: Tensor, y: Tensor) -> None:
        at = self.epoch * len(self.loader) + self.step
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.config.lr * 0.5 * (1 + math.cos(math.pi * at / self.total))
        strength = self._strength(at)
        sets_in = strength > 0 and self._strength(at - 1) == 0
        if sets_in or (strength > 0 and (self.step == 0 or _is_power_of_two(at))):
            self.ranks.share_buffers(self.model)
            self.method.settle(self.model, self._calibration())
        self._advance(at)
        x, y, share = self.ranks.share(self._augmented(x, at), y, self.smallest)
        scale = share * self.ranks.count
        self.model.zero_grad(set_to_none=True)
        for some_x, some_y in split(x, y, self.config.accumulate, self.smallest):
            seen = self._forward(some_x, some_y, strength, at)
            self._backward(seen, len(some_x) / len(x) * scale)
        self.ranks.average_gradients(self.model)
        self._smooth(seen, len(x))
        self._correct(seen, at, share)
        for optimizer in self.optimizers:
            optimizer.step()
        self._settle_weights(strength, at)

    def _advance(self, at: int) -> None:
        """Tell the quantizers how far the training is."""
        for layer in analog_layers(self.model).values():
            if layer.weight_quantizer is not None:
                layer.weight_quantizer.advance(at / max(self.total - 1, 1))

    def _augmented(self, x: Tensor, at: int) -> Tensor:
        if not self.config.augment:
            return x
        return augmented(x, self.config.augment, generator("augment", self.config.seed, at))

    def _forward(self, x: Tensor, y: Tensor, strength: float, at: int) -> Step:
        """The forward pass on the device, and all that an objective may ask about it."""
        repeat = Repeat(self.model, self.device)

        @contextmanager
        def repeated() -> Iterator[None]:
            with repeat.again(), self.method.setting(self.model, strength, at), self._precision():
                yield

        @contextmanager
        def plain() -> Iterator[None]:
            with repeat.again(), digital(self.model), self._precision():
                yield

        stage = self.method.setting(self.model, strength, at)
        with watched(self.objectives, self.model), stage, self._precision():
            logits = self.model(x)
        return Step(
            model=self.model,
            x=x,
            y=y,
            logits=logits,
            repeated=repeated,
            plain=plain,
            strength=strength if self.method.noisy else 1.0,
            number=at,
            draws=self._draws(at),
            curvature=(lambda _: None) if self.curvature is None else self.curvature.of,
        )

    def _precision(self) -> AbstractContextManager[object]:
        if self.config.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def _draws(self, at: int) -> torch.Generator:
        return generator("objective", self.config.seed, at, device=self.device)

    def _backward(self, seen: Step, part: float) -> None:
        """Gradients of all terms but those that want curvature; ``part`` is what they count."""
        loss = total((o for o in self.objectives if not o.wants_curvature), seen)
        (loss * part).backward()
        right = (seen.logits.detach().argmax(dim=-1) == seen.y).sum()
        count = right.new_tensor(seen.y.numel())
        self.sums[:3] += torch.stack((loss.detach() * count, right, count))

    def _smooth(self, seen: Step, samples: int) -> None:
        """Gradients of the terms that want curvature, which they are no part of."""
        if self.curvature is None:
            return
        self.curvature.update()
        loss = total((o for o in self.objectives if o.wants_curvature), seen)
        if loss.requires_grad:
            loss.backward()
        self.sums[0] += loss.detach() * samples * seen.y[0].numel()

    def _correct(self, seen: Step, at: int, share: float) -> None:
        """Measure the loss around the weights, where a corrector or an audit is due."""
        progress = at / self.total
        corrects = self.corrector is not None and progress >= self.corrector.start
        audits = self.config.audit and at % self.config.audit == 0
        if not (corrects or audits):
            return
        layers = analog_layers(self.model).values()
        weights = [layer.weight for layer in layers]

        def loss() -> Tensor:
            with torch.no_grad():
                with watched(self.objectives, self.model):
                    logits = seen.again()
                here = replace(seen, logits=logits, draws=self._draws(at))
                return self.ranks.total(total(self.objectives, here).double() * share)

        if audits:
            truth = gradient_truth(weights, loss)
            self.sums[3:] += self.sums.new_tensor((truth, 1.0)) * self.ranks.first
        if corrects:
            assert self.corrector is not None
            draws = generator("corrector", self.config.seed, at, device=self.device)
            reach = 1.0 if self.corrector.surrogate == "identity" else 0.5  # of a sign's two levels
            steps = [reach * _step_size(layer) for layer in layers]
            self.corrector.correct(weights, loss, steps, draws, progress)

    def _settle_weights(self, strength: float, at: int) -> None:
        """What happens to the weights after a step: clipping, and their moving average."""
        if self.config.clip_sigma and strength > 0:
            clip_weights(self.model, self.config.clip_sigma)
        if self.average:
            decay = min(self.config.average, (1 + at) / (10 + at))
            with torch.no_grad():
                for mean, parameter in zip(self.average, self.model.parameters(), strict=True):
                    # What is NaN was not known when the average began.
                    new = torch.where(mean.isnan(), parameter, mean.lerp(parameter, 1 - decay))
                    mean.copy_(new)

    def _strength(self, at: int) -> float:
        """Share of the noise at step ``at``: 0 in the warm-up, then a linear ramp to 1."""
        if not self.method.noisy:
            return 0.0
        warm, ramp = self.config.warmup * self.total, self.config.ramp * self.total
        if at < warm:
            return 0.0
        return min(1.0, (at - warm + 1) / max(ramp, 1.0))

    def _calibration(self) -> Iterator[Tensor]:
        return calibration_batches(self.config, self.data, self.device)

    def _means(self) -> tuple[float, float]:
        loss, right, images = self.ranks.total(self.sums[:3].clone()).tolist()
        return loss / max(images, 1), right / max(images, 1)

    def _report(self, steps: int) -> None:
        loss, accuracy = self._means()
        if not math.isfinite(loss):
            raise CimsimError(
                f"the loss became {loss} in epoch {self.epoch + 1}, step {self.step}; "
                "try a smaller --lr, or look for NaN in the data"
            )
        if steps:
            self.progress.step(self.epoch, loss, accuracy, steps)

    def _end_epoch(self, seconds: float) -> None:
        loss, accuracy = self._means()
        metrics: dict[str, Any] = {
            "epoch": self.epoch + 1,
            "train_loss": loss,
            "train_accuracy": accuracy,
            "noise_strength": self._strength((self.epoch + 1) * len(self.loader) - 1),
            "seconds": round(seconds, 3),
        }
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

    def _agree(self, due: bool) -> bool:
        """Whether it is time to save; of several processes the first decides, and seldom."""
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
            average=self.average,
            curvature=[] if self.curvature is None else self.curvature.state(),
            rng=self.ranks.gather(torch.get_rng_state()),
            plateau=self.plateau.state(),
            run=self.identity,
            metrics_sha256=self.metrics_hash.hexdigest(),
        )
        save_checkpoint(checkpoint, self.out / CHECKPOINT, self.ranks)


def _finish(training: _Training) -> None:
    """Statistics under noise, ranges, test accuracy; then the files that make a run finished.

    Processes that share the model out do it together, and the first one writes.
    """
    model, config, data, out = training.model, training.config, training.data, training.out
    with torch.no_grad():
        for parameter, mean in zip(model.parameters(), training.average, strict=False):
            parameter.copy_(mean)
    training.method.finish(model, _some_batches(training))
    set_profile(model, training.devices)
    age(model, 0)
    calibrate(model, calibration_batches(config, data, training.device), missing=True)
    if not training.method.on_device:
        reestimate_statistics(model, _some_batches(training), kinds=(ColumnDenoiser,))
    test_x, test_y = data.test_x.to(training.device), data.test_y.to(training.device)
    with digital(model):
        plain = evaluate(model, test_x, test_y, data.batch_size)
    program(model, config.seed)
    on_chip = evaluate(model, test_x, test_y, data.batch_size)
    state = None if training.mesh is None else whole_state(model, keep=training.ranks.first)
    if not training.ranks.first:
        return
    if state is not None:
        model = new_model(config, training.profile, training.layers, data)
        model.load_state_dict(state)
    refuse_not_finite(model.state_dict(), training.not_measured, "the training diverged")
    save_weights(model, out / MODEL)
    result = {
        "digital_accuracy": plain.accuracy,
        "digital_loss": plain.loss,
        "chip_seed": config.seed,
        "chip_accuracy": on_chip.accuracy,
        "chip_loss": on_chip.loss,
        "data_fingerprint": data.fingerprint,
        "token": data.token,
    }
    _write_result(training, _as_json(result))
    remove_checkpoint(out / CHECKPOINT)


def _write_result(training: _Training, text: str) -> None:
    """Write ``result.json``, after the hashes of all files of the run."""
    out, before = training.out, read_sums(training.out)
    settled = [CONFIG, PROFILE, ENV, *_layer_files(training.layers)]
    sums = {name: before.get(name) or [sha256_of(out / name)] for name in settled}
    sums[METRICS] = [training.metrics_hash.hexdigest()]
    sums[MODEL] = [sha256_of(out / MODEL)]
    sums[RESULT] = [hash_of(text)]
    write_sums(out, sums)
    write_text(out / RESULT, text)


def _some_batches(training: _Training) -> Iterator[Tensor]:
    batches = training.loader.epoch(training.config.epochs)
    for _, (x, _) in zip(range(_BATCHNORM_BATCHES), batches, strict=False):
        yield x.to(training.device)


def _optimizers(config: TrainConfig, model: nn.Module) -> list[torch.optim.Optimizer]:
    chosen = make_optimizer(config.optimizer)
    if chosen.owns_weights:
        meddling = [k for k in ("clip_sigma", "average", "quantize_weights") if getattr(config, k)]
        if meddling:
            raise CimsimError(
                f"optimizer '{config.optimizer}' owns the analog weights; {' and '.join(meddling)} "
                "would change them: set numbers to 0 and leave out quantizers"
            )
    return chosen.build(model, config.lr, config.weight_decay)


def _refuse_computed_weights(
    config: TrainConfig, objectives: list[Objective], model: nn.Module
) -> None:
    """Refuse what writes weights or asks for their curvature, where a layer computes its own."""
    writing = [f"objective {o.name}" for o in objectives if o.wants_curvature]
    writing += [f"optimizer {config.optimizer}"] * make_optimizer(config.optimizer).owns_weights
    writing += [f"corrector {config.corrector}"] * bool(config.corrector)
    writing += ["audit"] * bool(config.audit)
    for name, layer in analog_layers(model).items():
        computing = computed(layer)
        if writing and computing is not None:
            raise CimsimError(
                f"{' and '.join(writing)} must set the weights themselves, and {computing} "
                f"computes that of layer '{name}'; leave one of the two out"
            )


def _refuse_lone_samples(config: TrainConfig, samples: int, smallest: int) -> None:
    """Refuse batches of one sample, where the model normalizes over the batch."""
    if min(config.batch_size, samples) < smallest:
        given = f"batch_size is {config.batch_size}" if samples >= smallest else "there is only one"
        raise CimsimError(
            f"{config.model} has batch normalization, which cannot train on one sample at a time, "
            f"and {given}; take two at least"
        )


def _refuse_parts(config: TrainConfig, objectives: list[Objective]) -> None:
    """Refuse what looks at whole parameters, where processes hold parts of them."""
    if config.parallel != "shard":
        return
    reading = [f"objective {o.name}" for o in objectives if o.reads_weights]
    reading += [f"optimizer {config.optimizer}"] * make_optimizer(config.optimizer).owns_weights
    reading += [f"corrector {config.corrector}"] * bool(config.corrector)
    reading += ["audit"] * bool(config.audit)
    if reading:
        raise CimsimError(
            f"--parallel shard leaves no process with whole weights, which {' and '.join(reading)} "
            "must look at; take --parallel replicate"
        )


@contextmanager
def _claimed(out: Path, training: _Training, resume: bool) -> Iterator[None]:
    """Within the block, the folder is this run's, and no other process trains in it.

    The lock comes before anything is written or looked at that another process may be writing.
    """
    _refuse_folder(out, resume)
    if (out / RESULT).is_file() and not _same_run(out, training):
        yield  # nothing is left to be written
        return
    make_folder(out)
    refusal = f"another process is training in {out}; wait until it ends, or stop it"
    with locked(out / LOCK, refusal):
        _refuse_folder(out, resume)  # again: another process may have trained there meanwhile
        remove_leftovers(out)
        if not (out / CONFIG).is_file():
            _begin(out, training)
        elif _same_run(out, training):
            _move(out, training.config)
        yield


def _refuse_folder(out: Path, resume: bool) -> None:
    if (out / CONFIG).is_file():
        if not resume:
            raise CimsimError(
                f"{out} already holds a run; add --resume to go on with it, or choose another --out"
            )
    elif out.exists() and not (out.is_dir() and _is_just_begun(out)):
        raise CimsimError(f"{out} exists and is not a run; choose another --out")


def _is_just_begun(out: Path) -> bool:
    """Whether the folder is empty, or was left by a run that was killed as it claimed it."""
    names = {path.name for path in out.iterdir() if path.suffix != PART}
    known = (PROFILE, ENV, SUMS, LOCK)
    return all(name in known or fnmatch(name, LAYER.format("*")) for name in names)


def _begin(out: Path, training: _Training) -> None:
    """Write what decides the run; ``config.yaml`` comes last, and makes the folder a run."""
    files = {PROFILE: dump_profile(training.profile), ENV: _as_json(environment())}
    for name, profile in _layer_files(training.layers).items():
        files[name] = dump_profile(profile)
    for name, text in files.items():
        write_text(out / name, text)
    files[CONFIG] = dump_config(training.config)
    write_sums(out, {name: [hash_of(text)] for name, text in files.items()})
    write_text(out / CONFIG, files[CONFIG])


def _move(out: Path, config: TrainConfig) -> None:
    """Write another place of the profile or the data into the run's settings."""
    text, sums = dump_config(config), read_sums(out)
    if sums:  # both hashes, so that one is right whenever this process is killed
        write_sums(out, sums | {CONFIG: [*sums.get(CONFIG, []), hash_of(text)]})
    write_text(out / CONFIG, text)
    if sums:
        write_sums(out, sums | {CONFIG: [hash_of(text)]})


def _layer_files(layers: Layers) -> dict[str, Profile]:
    """The device of every layer that has one of its own, by the name of its file."""
    numbered = enumerate(layers.values(), start=1)
    return {LAYER.format(n): layer["profile"] for n, layer in numbered if "profile" in layer}


def _as_json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=2) + "\n"


def _same_run(out: Path, training: _Training) -> bool:
    """Refuse to go on with another run than that in ``out``; returns whether places of it moved.

    Raises:
        CimsimError: which says what differs.
    """
    config, before = training.config, read_config(out / CONFIG)
    changed = [f for f in type(config).model_fields if getattr(before, f) != getattr(config, f)]
    fields = [f for f in changed if f not in _PLACES]
    if fields:
        changes = ", ".join(f"{f} was {getattr(before, f)}" for f in fields)
        raise CimsimError(f"cannot resume {out} with other settings: {changes}")
    if fingerprint(read_profile(out / PROFILE)) != fingerprint(training.profile):
        raise CimsimError(
            f"cannot resume {out}: the profile '{config.profile}' has changed since it began"
        )
    if read_layers(out, before) != training.layers:
        raise CimsimError(
            f"cannot resume {out}: other settings of layers, or their profiles have changed; "
            f"layer was {before.layer}"
        )
    return bool(changed)


def _identity(config: TrainConfig, profile: Profile, layers: Layers, data: str) -> str:
    """The hash of all that decides a run's weights, wherever its profile and data lie."""
    settings = config.model_dump(mode="json", exclude=set(_PLACES))
    own = {
        pattern: {k: fingerprint(v) if k == "profile" else v for k, v in layer.items()}
        for pattern, layer in layers.items()
    }
    return hash_of(json.dumps([settings, fingerprint(profile), own, data], sort_keys=True))


def _check_optimizer(optimizer: torch.optim.Optimizer, saved: dict[str, Any]) -> None:
    """Refuse a state of other settings or parameters than those of ``optimizer``.

    Raises:
        ValueError: which says what does not fit.
    """
    new = optimizer.state_dict()
    if saved.keys() != new.keys() or len(saved["param_groups"]) != len(new["param_groups"]):
        raise ValueError("the optimizer is another one")
    for group, before in zip(new["param_groups"], saved["param_groups"], strict=True):
        for name in group.keys() & before.keys() - {"lr"}:  # which follows from the step
            if group[name] != before[name]:
                raise ValueError(f"the optimizer's {name} was {before[name]}")
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    names = {frozenset(numbers) for numbers in saved["state"].values()}
    if len(names) > 1:
        raise ValueError("the optimizer's state lacks some of its numbers")
    for at, numbers in saved["state"].items():
        for name, value in numbers.items():
            if not isinstance(value, Tensor) or value.shape not in ((), parameters[at].shape):
                raise ValueError(f"the optimizer's {name} of parameter {at} has another shape")
        if found := not_finite(numbers):
            raise ValueError(f"the optimizer's {sorted(found)[0]} holds NaN or infinity")


def _step_size(layer: AnalogLayer) -> float:
    """How far a corrector steps: the distance of the weight's levels, or a tenth of its RMS."""
    quantizer, weight = layer.weight_quantizer, layer.to_matrix(layer.weight.detach())
    step = None if quantizer is None else quantizer.step_size(weight)
    return step or 0.1 * float(weight.square().mean().sqrt()) or _SMALLEST_STEP


def _is_power_of_two(n: int) -> bool:
    return n > 0 and n & (n - 1) == 0


def _keep_lines(path: Path, count: int, sha256: str) -> bytes:
    """Cut the metrics back to the epochs that the checkpoint has, and return their lines.

    Raises:
        CimsimError: if they are not those of which the checkpoint keeps the hash ``sha256``.
    """
    lines = read_file(path).splitlines(keepends=True) if path.exists() else []
    kept = b"".join(lines[:count])
    if sha256 and hash_of(kept) != sha256:
        raise CimsimError(
            f"{path} is damaged: it does not hold the {count} epochs that {CHECKPOINT} goes on "
            f"from; restore it from a copy, or remove {path.with_name(CHECKPOINT)} to start the "
            "run anew"
        )
    if len(lines) > count:
        write_text(path, kept.decode())
    return kept


def environment() -> dict[str, Any]:
    """Versions and command line, for a run's ``env.json``."""
    packages = ("numpy", "scipy", "pydantic", "safetensors", "scikit-learn")
    return {
        "cimsim": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {"torch": torch.__version__, **{name: _version(name) for name in packages}},
        "threads": torch.get_num_threads(),
        "command": sys.argv,
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
