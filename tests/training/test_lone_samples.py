"""Batches of one sample before batch normalization."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import cimsim
from cimsim.errors import CimsimError
from cimsim.training.config import TrainConfig
from cimsim.training.fit import check, fit
from cimsim.training.lone_samples import fewest_samples, split
from cimsim.training.parallel import Ranks


def settings(**changes: object) -> TrainConfig:
    given = {
        "profile": "pcm-ibm-2020",
        "data": "digits",
        "model": "tests.training.networks:dropout_net",
        "epochs": 1,
        "limit": 17,
        "batch_size": 16,
        **changes,
    }
    return TrainConfig.model_validate(given)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"accumulate": 16},
        {"accumulate": 5},
        {"limit": 2, "batch_size": 2, "accumulate": 2},
        {"method": "digital"},
        {"denoise": 0.01},
        {"quantize_inputs": "denoising:bits=2"},
    ],
    ids=str,
)
def test_the_sample_that_is_left_over_is_trained_on(
    changes: dict[str, object], tmp_path: Path
) -> None:
    run = fit(settings(**changes), tmp_path / "run")
    assert run.chip_model().eval()(run.data.test_x[:1]).isfinite().all()


@pytest.mark.parametrize(
    ("changes", "why"),
    [({"batch_size": 1}, "batch_size is 1"), ({"limit": 1}, "the data have one")],
)
def test_one_sample_at_a_time_is_refused_before_anything_starts(
    changes: dict[str, object], why: str, tmp_path: Path
) -> None:
    with pytest.raises(CimsimError, match=f"needs at least two samples per batch, but {why}"):
        fit(settings(**changes), tmp_path / "run")
    with pytest.raises(CimsimError, match=why):
        check(settings(**changes))
    assert not (tmp_path / "run").exists()


def test_without_batch_normalization_nothing_changes() -> None:
    x = torch.randn(1, 3, 5, 5)
    conv = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    assert fewest_samples(cimsim.convert(conv, "ideal"), x) == 1  # nine places in each channel
    flat = nn.Sequential(nn.Conv2d(3, 4, 5), nn.BatchNorm2d(4))
    analog = cimsim.convert(flat, "pcm-ibm-2020")
    state = {name: tensor.clone() for name, tensor in analog.state_dict().items()}
    assert fewest_samples(analog, x) == 2
    for name, tensor in analog.state_dict().items():
        assert torch.equal(tensor.nan_to_num(), state[name].nan_to_num())
    assert analog.training
    assert fewest_samples(cimsim.convert(nn.Linear(4, 4), "ideal"), torch.zeros(1, 4)) == 1


@pytest.mark.parametrize("samples", range(1, 20))
@pytest.mark.parametrize("parts", [1, 2, 3, 5, 16])
def test_parts_are_torchs_own_or_large_enough(samples: int, parts: int) -> None:
    x = torch.arange(samples)
    plain = split(x, x, parts, 1)
    assert [len(a) for a, _ in plain] == [len(a) for a in x.chunk(parts)]
    large = split(x, x, parts, 2)
    assert torch.equal(torch.cat([a for a, _ in large]), x)
    assert min(len(a) for a, _ in large) >= min(2, samples)


@pytest.mark.parametrize("samples", range(2, 12))
@pytest.mark.parametrize("count", [2, 3, 5])
def test_shares_of_processes_are_large_enough(samples: int, count: int) -> None:
    x = torch.arange(samples)
    shares = [Ranks(rank, count).share(x, x, 2) for rank in range(count)]
    assert min(len(a) for a, _, _ in shares) >= 2
    assert sum(share for *_, share in shares) == pytest.approx(1)
