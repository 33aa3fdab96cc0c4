"""A hash inside JSON that shows whether a file is still as it was written."""

from __future__ import annotations

import hashlib
import json
from typing import Any

SEAL = "sha256"


def sealed(content: dict[str, Any]) -> dict[str, Any]:
    """``content`` with a hash of it under one more key.

    >>> unsealed(sealed({"chips": 10}))
    {'chips': 10}
    """
    return {**content, SEAL: _hash(content)}


def unsealed(content: Any) -> dict[str, Any]:
    """``content`` without its hash; a file from before there was one has none.

    Raises:
        ValueError: it is no mapping, or has changed since it was sealed.
    """
    if not isinstance(content, dict):
        raise ValueError("not a mapping")
    rest = {key: value for key, value in content.items() if key != SEAL}
    if SEAL in content and content[SEAL] != _hash(rest):
        raise ValueError("changed since it was written")
    return rest


def _hash(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
