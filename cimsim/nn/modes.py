"""Training and evaluation mode, put back as they were."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cimsim.nn.forms import Model


@contextmanager
def evaluating(model: Model) -> Iterator[Model]:
    """Put ``model`` in evaluation mode within the block, and restore all modes after it."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield model
    finally:
        for module, mode in modes:
            module.training = mode
