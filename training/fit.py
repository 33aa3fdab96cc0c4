"""Training of a model from a configuration."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path

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
from cimsim.training.without_effect import without_effect


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
            for remark in without_effect(config, trainer.model, named):
                progress.note(remark)
            if config.parallel == "shard" and trainer.mesh is None:
                progress.note("a single process holds the whole model; start several with torchrun")
            if config.precision == "bfloat16" and emulates_bfloat16(device):
                progress.note(
                    "this processor has no instructions for bfloat16, so float32 is faster; "
                    "--precision bfloat16 is for GPUs and newer processors"
                )
            restore(trainer)
            trainer.run()
            if ranks.first or trainer.mesh is not None:
                finish(trainer)
            ranks.wait()
            return Run.open(out, trust=True)


def check(config: TrainConfig, trust: bool = False) -> None:
    """Check a configuration without writing any file.

    Raises:
        CimsimError: as :func:`fit`.
    """
    plan, device = TrainingPlan.load(config), working_device(config.device)
    Trainer(plan, Path(), Silent(), Ranks(), device, trust)
