"""Fingerprints of tensors, by the kernels and without them."""

from __future__ import annotations

import os
from importlib import import_module

import pytest
import torch

from cimsim.kernels import cpu
from cimsim.kernels.fingerprint import fingerprint


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
def test_the_memory_can_still_be_resized() -> None:
    """FSDP frees whole weights so, after every use."""
    values = torch.randn(5, 7)
    fingerprint(values)
    values.untyped_storage().resize_(0)
    assert values.untyped_storage().nbytes() == 0
