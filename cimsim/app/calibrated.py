"""A subject that keeps the models that it has calibrated.

Every level of noise and every age needs the same converter ranges, since they are measured on chips
without noise. Measuring them takes most of the time of an update.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from cimsim.analysis.subjects import Subject
from cimsim.analysis.sweeps.metric import Scores
from cimsim.nn import Assignment, Signals, set_profile

_MODELS = 2  # of different ranges


class CalibratedSubject(Subject):
    """Another subject, in memory, whose models are made faster; its numbers are the same."""

    def __init__(self, subject: Subject) -> None:
        """
        Args:
            subject: the subject; from now on its results are kept here and in no folder.
        """
        self._of, self.name, self.argument = subject, subject.name, subject.argument
        if self.argument is None and subject.folder is not None:
            self.argument = str(subject.folder)
        subject.folder = None
        self._models: OrderedDict[Assignment, nn.Module] = OrderedDict()

    @property
    def data(self) -> str:
        """See :class:`Subject`."""
        return self._of.data

    @property
    def token(self) -> str:
        """See :class:`Subject`."""
        return self._of.token

    @property
    def metric(self) -> str:
        """See :class:`Subject`."""
        return self._of.metric

    @property
    def device(self) -> torch.device | None:
        """See :class:`Subject`."""
        return self._of.device

    @property
    def test_samples(self) -> int | None:
        """See :class:`Subject`."""
        return self._of.test_samples

    @property
    def fingerprint(self) -> str:
        """See :class:`Subject`."""
        return self._of.fingerprint

    @property
    def data_fingerprint(self) -> str:
        """See :class:`Subject`."""
        return self._of.data_fingerprint

    @property
    def assignment(self) -> Assignment:
        """See :class:`Subject`."""
        return self._of.assignment

    def skeleton(self) -> nn.Module:
        """See :class:`Subject`."""
        return self._of.skeleton()

    def model(
        self, assignment: Assignment | None = None, device: torch.device | str = "cpu"
    ) -> nn.Module:
        """See :class:`Subject`."""
        assignment = assignment or self.assignment
        quiet = assignment.map(lambda profile: profile.scale_noise(0.0))
        if quiet in self._models:
            self._models.move_to_end(quiet)
        else:
            self._models[quiet] = self._of.model(assignment, device)
            if len(self._models) > _MODELS:
                self._models.popitem(last=False)
        return set_profile(copy.deepcopy(self._models[quiet]), assignment)

    def score(self, model: nn.Module, samples: int | None = None) -> Scores:
        """See :class:`Subject`."""
        return self._of.score(model, samples)

    def digital_scores(
        self, samples: int | None = None, device: torch.device | str = "cpu"
    ) -> Scores:
        """See :class:`Subject`."""
        return self._of.digital_scores(samples, device)

    def inputs(self, count: int, device: torch.device | str = "cpu") -> Any:
        """See :class:`Subject`."""
        return self._of.inputs(count, device)

    def calibration(self, device: torch.device | str = "cpu") -> list[Any]:
        """See :class:`Subject`."""
        return self._of.calibration(device)

    def signals(
        self,
        model: nn.Module,
        chips: Iterable[int],
        age_s: float,
        samples: int | None = None,
    ) -> dict[str, Signals]:
        """See :class:`Subject`."""
        return self._of.signals(model, chips, age_s, samples)
