"""The settings that ``--noise auto`` chooses from."""

from __future__ import annotations

from typing import Any

USUAL: dict[str, Any] = {
    "method": "noise-aware",
    "noise": 1.0,
    "gaussian_sigma": 0.038,
    "clip_sigma": 2.5,
}
"""The settings that a candidate chooses, with the values of those that it does not name."""

_CHOICES: dict[str, dict[str, Any]] = {
    "noise-1": {},
    "noise-2": {"noise": 2.0, "clip_sigma": 2.0},
    "noise-4": {"noise": 4.0, "clip_sigma": 1.5},
    "digital": {"method": "digital"},
    "gaussian-1": {"method": "fake-quantized"},
    "gaussian-2": {"method": "fake-quantized", "gaussian_sigma": 0.076, "clip_sigma": 2.0},
    "gaussian-3": {"method": "fake-quantized", "gaussian_sigma": 0.114, "clip_sigma": 1.5},
}

CANDIDATES: dict[str, dict[str, Any]] = {name: {**USUAL, **own} for name, own in _CHOICES.items()}
"""Settings by the name of the candidate, the default of ``cimsim train`` first: between candidates
that do equally well, the first is chosen. ``python -m benchmarks.default`` measures all of them."""
