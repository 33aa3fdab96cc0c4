"""Train a model, from configuration to finished run."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from cimsim.training.claim import claim
from cimsim.training.config import TrainConfig
from cimsim.training.device import working_device
from cimsim.training.finish import finish
from cimsim.training.parallel import Ranks, joined
from cimsim.training.plan import TrainingPlan
from cimsim.training.progress import Progress, Silent
from cimsim.training.records import RESULT
from cimsim.training.resume import restore
from cimsim.training.run import Run
from cimsim.training.trainer import Trainer


def fit(
    config: TrainConfig,
    out: Path,
    *,
    resume: bool = False,
    progress: Progress | None = None,
    trust: bool = False,
) -> Run:
    """Train as configured, in the folder ``out``, and return the finished run.

    A run that was killed at any moment and resumed ends with the same weights as one that was not,
    bit for bit on a CPU.

    A model named by ``config`` as ``package.module:function`` is imported. With ``trust``, models
    named by files, such as the run of a distillation's teacher, are imported too.

    Raises:
        CimsimError: for bad settings or data, for a folder that already holds a run (unless
            ``resume``) or in which another process trains, for settings that differ from the run
            that is to be resumed, for a damaged file of it, and for a loss that is not finite.
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
                return Run.open(out, trust=True)  # the caller named its model
            if config.parallel == "shard" and trainer.mesh is None:
                progress.note("one process alone holds the whole model; start more by torchrun")
            restore(trainer)
            trainer.run()
            if ranks.first or trainer.mesh is not None:
                finish(trainer)
            ranks.wait()
            return Run.open(out, trust=True)


def check(config: TrainConfig, trust: bool = False) -> None:
    """Raise what :func:`fit` would raise before it writes anything.

    Raises:
        CimsimError: as :func:`fit`.
    """
    plan, device = TrainingPlan.load(config), working_device(config.device)
    Trainer(plan, Path(), Silent(), Ranks(), device, trust)
