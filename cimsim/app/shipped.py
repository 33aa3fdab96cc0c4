"""Trained networks of :mod:`cimsim.models` as subjects of sweeps and studies."""

from __future__ import annotations

from cimsim.analysis.subjects import ModelSubject
from cimsim.models import card, load
from cimsim.training.data import load_data

DIGITS_MLP = f"{__name__}:digits_mlp"

_CALIBRATION = 512  # training inputs


def digits_mlp() -> ModelSubject:
    """The network ``digits-mlp`` with the test data of the digits.

    On the command line, :data:`DIGITS_MLP` names it like a run.
    """
    subject = _subject("digits-mlp")
    subject.argument = DIGITS_MLP
    return subject


def _subject(name: str) -> ModelSubject:
    data = load_data(card(name).data)
    return ModelSubject(
        load(name),
        [(data.test_x, data.test_y)],
        inputs=data.test_x,
        calibration=[data.train_x[:_CALIBRATION]],
        name=name,
        data=data.name,
    )
