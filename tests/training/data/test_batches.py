from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from cimsim.training.data import BatchLoader


def loader(rows: int, batch_size: int, seed: int | None = 0) -> BatchLoader:
    y = torch.arange(rows)
    return BatchLoader(y.float()[:, None], y, batch_size, shuffle_seed=seed)


def seen(batches) -> list[int]:
    labels: list[Tensor] = []
    for x, y in batches:
        assert torch.equal(x[:, 0].long(), y), "x and y must stay together"
        labels.append(y)
    return torch.cat(labels).tolist() if labels else []


@given(rows=st.integers(1, 50), batch_size=st.integers(1, 60), seed=st.integers(0, 3))
def test_an_epoch_shows_every_row_once(rows: int, batch_size: int, seed: int) -> None:
    batches = loader(rows, batch_size, seed)
    sizes = [len(y) for _, y in batches]
    assert sorted(seen(batches)) == list(range(rows))
    assert len(sizes) == len(batches)
    assert sizes[:-1] == [batch_size] * (len(batches) - 1)
    assert 1 <= sizes[-1] <= batch_size


@given(rows=st.integers(1, 50), batch_size=st.integers(1, 20), start=st.integers(0, 60))
def test_an_epoch_goes_on_where_it_stopped(rows: int, batch_size: int, start: int) -> None:
    batches = loader(rows, batch_size)
    assert seen(batches.epoch(3, start)) == seen(batches.epoch(3))[start * batch_size :]


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    first = seen(loader(100, 10, seed=1).epoch(4))
    torch.manual_seed(123)
    assert seen(loader(100, 25, seed=1).epoch(4)) == first
    assert seen(loader(100, 10, seed=2).epoch(4)) != first
    assert seen(loader(100, 10, seed=1).epoch(5)) != first


def test_plain_iteration_follows_set_epoch() -> None:
    batches = loader(40, 8)
    assert seen(batches) == seen(batches.epoch(0))
    batches.set_epoch(2)
    assert seen(batches) == seen(batches.epoch(2))


def test_without_a_seed_the_rows_come_in_order_as_views() -> None:
    batches = loader(10, 4, seed=None)
    assert seen(batches) == list(range(10))
    x, _ = next(iter(batches))
    assert x.untyped_storage().data_ptr() == batches.x.untyped_storage().data_ptr()


def test_the_global_random_state_is_left_alone() -> None:
    before = torch.get_rng_state()
    seen(loader(10, 3))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.gpu
def test_the_order_is_the_same_on_the_gpu() -> None:
    cpu = loader(100, 10)
    gpu = BatchLoader(cpu.x.cuda(), cpu.y.cuda(), 10, shuffle_seed=0)
    assert seen(gpu) == seen(cpu)


@pytest.mark.parametrize(
    ("x", "y", "batch_size", "told"),
    [(3, 2, 1, "x has 3 rows, y has 2"), (2, 2, 0, "batch_size must be at least 1, got 0")],
)
def test_refuses_what_makes_no_sense(x: int, y: int, batch_size: int, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        BatchLoader(torch.zeros(x), torch.zeros(y), batch_size)
