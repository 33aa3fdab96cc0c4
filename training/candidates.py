"""The settings that ``--noise auto`` chooses from."""

from __future__ import annotations

from typing import Any

USUAL: dict[str, Any] = {
    "method": "noise-aware",
    "noise": 1.0,
    "noise_spread": 0.0,
    "clip_sigma": 2.5,
    "average": 0.0,
}
"""The settings that a candidate chooses, with the values of those that it does not name."""

_CHOICES: dict[str, dict[str, Any]] = {
    "digital": {"method": "digital"},
    "noise-0.5": {"noise": 0.5},
    "noise-1": {},
    "fake-quantized": {"method": "fake-quantized"},
    "noise-2": {"noise": 2.0, "clip_sigma": 1.5},
    "noise-2-spread": {"noise": 2.0, "noise_spread": 1.0, "average": 0.999},
}

CANDIDATES: dict[str, dict[str, Any]] = {name: {**USUAL, **own} for name, own in _CHOICES.items()}
"""Settings by the name of the candidate, the simplest first: between candidates that do equally
well, the first is chosen."""
