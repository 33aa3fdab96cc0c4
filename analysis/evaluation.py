"""How a sweep or a study evaluates its subject: on which chips, and where."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import torch

    from cimsim.analysis.subjects import Subject
    from cimsim.analysis.sweeps.axis import Axis
    from cimsim.analysis.sweeps.engine import Engine
    from cimsim.analysis.sweeps.metric import Metric
    from cimsim.analysis.sweeps.store import Sweep
    from cimsim.nn import Assignment
    from cimsim.profile import Profile

Progress: TypeAlias = Callable[[int, int, str], None]
"""Function called after every trial: trials finished, trials in all, and a name for the last."""


FINISHED_BEFORE = "finished before"
"""The name in the first call, which counts the trials that were kept from an earlier command."""


def silent(done: int, total: int, doing: str) -> None:
    """A :data:`Progress` that shows nothing."""


@dataclass(frozen=True)
class Evaluation:
    """The chips that a study evaluates its subject on.

    Attributes:
        chips: number of chips; each level is evaluated on the same ones.
        first_chip: seed of the first chip; the others follow.
        samples: number of test samples; None for all.
        age_s: age of the chips in seconds.
        profile: profile of all layers; None for the subject's own.
        noise: factor on every noise of the profile.
        device: torch device to compute on.
        metric: name of the metric to show; None for the subject's own.
        engine: where to evaluate; None for this process.
        progress: called after every trial.
    """

    chips: int = 10
    first_chip: int = 0
    samples: int | None = None
    age_s: float = 0.0
    profile: Profile | Assignment | None = None
    noise: float = 1.0
    device: torch.device | str = "cpu"
    metric: str | None = None
    engine: Engine | None = None
    progress: Progress = silent

    def assignment(self, subject: Subject) -> Assignment:
        """The profiles that the layers of ``subject`` are evaluated on."""
        from cimsim.analysis.subjects import assignment_on

        chosen = assignment_on(subject, self.profile)
        return chosen.map(lambda profile: profile.scale_noise(self.noise))

    def metric_of(self, subject: Subject) -> Metric:
        """The metric that results of ``subject`` are shown in.

        Raises:
            CimsimError: if it cannot be computed from what the subject scores.
        """
        from cimsim.analysis.sweeps.metric import metric_named

        scores = subject.digital_scores(self.samples, self.device)
        return metric_named(self.metric or subject.metric, subject.token, scores, subject.split)

    def digital(self, subject: Subject) -> float:
        """The metric of ``subject`` without any non-ideality."""
        scores = subject.digital_scores(self.samples, self.device)
        return self.metric_of(subject).of(scores)

    def sweep(self, subject: Subject, axis: Axis) -> Sweep:
        """Evaluate ``subject`` at all levels of ``axis``, as :func:`~cimsim.analysis.sweeps.sweep`
        does."""
        from cimsim.analysis.sweeps.sweep import sweep

        return sweep([subject], axis, self)[0]
