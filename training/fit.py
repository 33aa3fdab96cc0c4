"""Training of a model from a configuration."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import ExitStack
from pathlib import Path

from cimsim.nn import profiles
from cimsim.profile import non_idealities
from cimsim.torch_device import emulates_bfloat16, working_device
from cimsim.training.claim import claim
from cimsim.training.config import TrainConfig
from cimsim.training.finish import finish
from cimsim.training.parallel import Ranks, joined
from cimsim.training.plan import TrainingPlan
from cimsim.training.progress import Progress, Silent
from cimsim.training.records import RESULT
from cimsim.training.resume import restore
from cimsim.training.run import Run
from cimsim.training.trainer import Trainer
from cimsim.training.without_effect import has_noise, without_effect

_FULL = 0.99  # of the noise, at the end of a training


def fit(
    config: TrainConfig,
    out: Path,
    *,
    resume: bool = False,
    progress: Progress | None = None,
    trust: bool = False,
    named: Collection[str] = (),
) -> Run:
    """Train as configured in the folder ``out`` and return the finished run.

    A run that was killed and resumed ends with the same weights as an uninterrupted run, bit for
    bit on a CPU.

    If ``config`` names the model as ``package.module:function``, it is imported. With ``trust``,
    models named in files are imported as well, such as the teacher's run in distillation. Settings
    in ``named``, which the user chose, are reported to ``progress`` if they have no effect.

    Raises:
        CimsimError: if settings or data are invalid, if the folder already contains a run (unless
            ``resume``) or another process is training in it, if settings differ from those of the
            run to resume, if a file of it is damaged, or if the loss is not finite.
    """
    with joined(working_device(config.device)) as (ranks, device):
        progress = progress if progress is not None and ranks.first else Silent()
        plan = TrainingPlan.load(config)
        trainer = Trainer(plan, out, progress, ranks, device, trust)
        with ExitStack() as held:
            if ranks.first:
                held.enter_context(claim(out, plan, resume))
            ranks.wait()
            if ranks.decide((out / RESULT).is_file()):
                progress.note(f"the run in {out} is already finished")
                return Run.open(out, trust=True)  # the caller gave the model
            for remark in _remarks(trainer, named):
                progress.note(remark)
            restore(trainer)
            trainer.run()
            if ranks.first or trainer.mesh is not None:
                finish(trainer)
            ranks.wait()
            return Run.open(out, trust=True)


def _remarks(trainer: Trainer, named: Collection[str]) -> Iterator[str]:
    """Sentences about settings that may have an unexpected effect."""
    config = trainer.config
    yield from without_effect(config, trainer.data, trainer.model, named)
    yield from _of_the_noise(trainer)
    if config.parallel == "shard" and trainer.mesh is None:
        yield "a single process holds the whole model; start several with torchrun"
    if config.precision == "bfloat16" and emulates_bfloat16(str(trainer.device)):
        yield (
            "this processor has no instructions for bfloat16, so float32 is faster; "
            "--precision bfloat16 is for GPUs and newer processors"
        )


def _of_the_noise(trainer: Trainer) -> Iterator[str]:
    """A sentence if the noise does not reach full strength by the end."""
    config, method, assigned = trainer.config, trainer.schedule.method, profiles(trainer.model)
    final = trainer.schedule.strength(trainer.total - 1)
    if not method.noisy or final >= _FULL:
        return
    if final > 0:
        if has_noise(config, assigned):
            yield (
                f"the noise ends at {100 * final:.0f} % of full strength, because warmup "
                f"{config.warmup:g} and ramp {config.ramp:g} add up to more than the training; "
                "reduce them"
            )
    elif not method.simulates_cells or any(map(non_idealities, assigned.profiles)):
        yield (
            f"the whole training is digital, because warmup {config.warmup:g} includes all of its "
            f"steps ({trainer.total}); reduce it"
        )


def check(config: TrainConfig, trust: bool = False) -> None:
    """Check a configuration without writing any file.

    Raises:
        CimsimError: as :func:`fit`.
    """
    plan, device = TrainingPlan.load(config), working_device(config.device)
    Trainer(plan, Path(), Silent(), Ranks(), device, trust)
