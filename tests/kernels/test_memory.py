"""Scratch memory."""

from __future__ import annotations

import pytest
import torch

from cimsim.kernels import memory


def test_one_slot_is_one_memory() -> None:
    large = memory.scratch("a test", (40, 30))
    assert memory.scratch("a test", (40, 30)) is large
    small = memory.scratch("a test", (7,))
    assert small.data_ptr() == large.data_ptr()
    assert memory.scratch("a test", (7,), torch.int8).data_ptr() != large.data_ptr()
    assert memory.scratch("another test", (7,)).data_ptr() != large.data_ptr()


def test_batches_of_any_length_add_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_MOST_VIEWS", 100)
    first = memory.scratch("a test", (1000,)).data_ptr()
    for length in range(1, 1000):
        view = memory.scratch("a test", (length,))
        assert view.shape == (length,)
        assert view.data_ptr() == first
    assert len(memory._scratch.views) <= 100
