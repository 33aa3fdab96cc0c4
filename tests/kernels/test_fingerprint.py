"""Fingerprints of tensors, by the kernels and without them."""

from __future__ import annotations

import os
from importlib import import_module

import pytest
import torch

from cimsim.kernels import cpu
from cimsim.kernels.fingerprint import fingerprint, sum_of_words


@pytest.fixture(params=["kernels", "no kernels", "Triton"])
def kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "Triton":
        pytest.importorskip("triton")
        if os.environ.get("TRITON_INTERPRET") != "1":
            pytest.skip("Triton does not interpret")
        cuda = import_module("cimsim.kernels.cuda")
        monkeypatch.setattr("cimsim.kernels.fingerprint.of_device", lambda kind: cuda)
    elif request.param == "no kernels":
        absent = cpu.build()._replace(library=None)
        monkeypatch.setattr(cpu, "build", lambda: absent)
    elif cpu.build().library is None:
        pytest.skip(cpu.build().note)


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_same_bytes_give_the_same_number_and_others_another(dtype: torch.dtype) -> None:
    values = torch.randn(5, 7, generator=torch.Generator().manual_seed(0)).to(dtype)
    before = fingerprint(values)
    assert fingerprint(values.clone()) == before
    assert fingerprint(values.T.contiguous().T) == before  # the same numbers, laid out otherwise
    values.data[4, 6] += 1
    assert fingerprint(values) != before
    assert isinstance(fingerprint(values[:0]), int)


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_simple_changes_are_seen(dtype: torch.dtype) -> None:
    """Whole numbers have words with many zeros, and a change of sign changes one bit."""
    numbers = [0.0, 1.0, -1.0, 2.0, -2.0]
    every = torch.cartesian_prod(*[torch.tensor(numbers, dtype=dtype)] * 4)
    assert len({fingerprint(each) for each in every}) == len(every)
    long = torch.randn(3, 5000, generator=torch.Generator().manual_seed(0)).to(dtype)
    others = [-long, long.flip(0), long.flip(1), long.roll(1, 1), long[:, :-1].contiguous()]
    assert len({fingerprint(each) for each in (long, *others)}) == len(others) + 1


def test_a_gpu_without_triton_has_the_hash_of_its_kernels() -> None:
    pytest.importorskip("triton")
    if torch.cuda.is_available() or os.environ.get("TRITON_INTERPRET") == "1":
        device = "cuda" if torch.cuda.is_available() else "cpu"
        cuda = import_module("cimsim.kernels.cuda")
        for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.int8):
            values = torch.arange(-3000, 3000, device=device).to(dtype)
            assert cuda.fingerprint(values) == sum_of_words(values)


@pytest.mark.usefixtures("kernels")
def test_the_memory_can_still_be_resized() -> None:
    """FSDP frees whole weights so, after every use."""
    values = torch.randn(5, 7)
    fingerprint(values)
    values.untyped_storage().resize_(0)
    assert values.untyped_storage().nbytes() == 0
