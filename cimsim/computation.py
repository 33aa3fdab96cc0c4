"""The version of the computation, under which the results of trials are kept."""

from __future__ import annotations

import cimsim

COMPUTATION = 5
"""Number of changes since the last release of cimsim after which a trial has other numbers for the
same weights, profile and chip. Whoever makes such a change raises it; a release resets it to 0."""


def computed_by() -> str:
    """The version of cimsim, and the changes of results since then: ``0.1.0``, or ``0.1.0+3``."""
    return f"{cimsim.__version__}+{COMPUTATION}" if COMPUTATION else cimsim.__version__
