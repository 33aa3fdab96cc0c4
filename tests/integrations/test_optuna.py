"""Searches for settings of ``cimsim.NoiseAware`` with Optuna."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import cimsim
from tests.integrations.networks import TEST, TRAIN, converted, pairs

optuna = pytest.importorskip("optuna", reason="optuna is in the extra 'integrations'")


def test_a_study_of_the_noise_is_reproducible() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def objective(trial: Any) -> float:
        model = converted()
        torch.manual_seed(0)
        with_noise = cimsim.NoiseAware(
            model,
            steps=6,
            noise=trial.suggest_float("noise", 0.0, 4.0),
            clip_sigma=trial.suggest_float("clip_sigma", 1.0, 3.0),
            calibration=[TRAIN.x],
        )
        optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
        for x, labels in pairs(TRAIN):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), labels).backward()
            optimizer.step()
            with_noise.step()
        with_noise.finish()
        cimsim.program(model.eval(), 1)
        with torch.no_grad():
            return nn.functional.cross_entropy(model(TEST.x), TEST.labels).item()

    values = []
    for _ in range(2):
        study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
        study.optimize(objective, n_trials=3)
        values.append([trial.value for trial in study.trials])
    assert values[0] == values[1]
    assert len(set(values[0])) == 3
