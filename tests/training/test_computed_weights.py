"""Training of layers that compute their weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cimsim.errors import CimsimError
from cimsim.training.config import TrainConfig
from cimsim.training.fit import check, fit
from cimsim.training.run import Run

SETTINGS = {
    "profile": "pcm-ibm-2020",
    "data": "digits",
    "model": "tests.training.networks:normed_net",
    "epochs": 4,
    "limit": 640,
    "batch_size": 32,
    "lr": 1e-2,
}


def test_trained_saved_and_opened(tmp_path: Path) -> None:
    """Clipping, on by default, leaves such a weight alone."""
    config = TrainConfig.model_validate(SETTINGS)
    assert config.clip_sigma > 0
    run = fit(config, tmp_path / "run")
    assert run.digital_accuracy > 0.6
    one, two = (Run.open(tmp_path / "run", trust=True).chip_model() for _ in range(2))
    x = run.data.test_x[:20]
    assert torch.equal(one(x), two(x))


@pytest.mark.parametrize(
    "changes",
    [
        {"corrector": "spsa"},
        {"audit": 5},
        {"objective": ["cross-entropy", "lotion"]},
        {"optimizer": "ternary-chain", "clip_sigma": 0},
    ],
    ids=str,
)
def test_what_sets_weights_itself_is_refused(changes: dict[str, object]) -> None:
    config = TrainConfig.model_validate({**SETTINGS, **changes})
    with pytest.raises(
        CimsimError, match="_WeightNorm computes the weight of layer '1'; remove one"
    ):
        check(config)
