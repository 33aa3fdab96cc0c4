"""A sealed mapping shows any change of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cimsim.sealing import SEAL, sealed, unsealed

CONTENT: dict[str, Any] = {"chips": 10, "levels": [0.1, None, "x"], "loss": "nan", "name": "é"}


def test_what_was_sealed_comes_back_through_a_file() -> None:
    assert unsealed(json.loads(json.dumps(sealed(CONTENT), indent=2))) == CONTENT
    assert unsealed(CONTENT) == CONTENT  # from before there were seals


def test_any_changed_bit_is_seen() -> None:
    text = json.dumps(sealed(CONTENT)).encode()
    for place in range(len(text)):
        for bit in range(8):
            changed = text[:place] + bytes([text[place] ^ (1 << bit)]) + text[place + 1 :]
            try:
                found = json.loads(changed)
            except ValueError:
                continue
            if SEAL in found and found != sealed(CONTENT):  # \\u00e9 is \\u00E9
                with pytest.raises(ValueError, match="changed since"):
                    unsealed(found)
