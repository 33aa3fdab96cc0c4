"""What is said about a device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from cimsim.torch_device import emulates_bfloat16
from cimsim.training.config import make_config
from cimsim.training.fit import fit
from cimsim.training.progress import Silent


@pytest.mark.parametrize(
    ("capabilities", "slow"),
    [
        ({"avx512_bf16": False, "amx_bf16": False}, True),
        ({"avx512_bf16": True, "amx_bf16": False}, False),
        ({"sve": True}, False),
    ],
    ids=str,
)
def test_a_processor_without_bfloat16_is_noted_once(
    capabilities: dict[str, bool], slow: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts: list[str] = []

    class Notes(Silent):
        def note(self, text: str) -> None:
            texts.append(text)

    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert emulates_bfloat16("cpu") is slow
    assert not emulates_bfloat16("meta")
    given: dict[str, Any] = {"profile": "ideal", "epochs": 1, "limit": 30}
    for precision in ("float32", "bfloat16"):
        config = make_config(**given, precision=precision)
        fit(config, tmp_path / precision, progress=Notes())
        said = [text for text in texts if "bfloat16" in text]
        assert len(said) == (slow and precision == "bfloat16")


def test_an_older_torch_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not emulates_bfloat16("cpu")
