"""Hashes inside JSON files, to detect changes."""

from __future__ import annotations

import hashlib
import json
from typing import Any

SEAL = "sha256"


def sealed(content: dict[str, Any]) -> dict[str, Any]:
    """Return ``content`` with an additional key that holds its hash.

    >>> unsealed(sealed({"chips": 10}))
    {'chips': 10}
    """
    return {**content, SEAL: _hash(content)}


def unsealed(content: Any) -> dict[str, Any]:
    """Return ``content`` without its hash; files of older versions have no hash.

    Raises:
        ValueError: if it is not a mapping, or its hash does not match.
    """
    if not isinstance(content, dict):
        raise ValueError("not a mapping")
    rest = {key: value for key, value in content.items() if key != SEAL}
    if SEAL in content and content[SEAL] != _hash(rest):
        raise ValueError("changed since it was written")
    return rest


def _hash(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
