"""Modes of autograd that do not depend on those of the caller."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def lasting() -> Iterator[None]:
    """Create ordinary tensors within the block, even under ``torch.inference_mode``.

    Use it for tensors that a layer keeps between calls (buffers, a programmed chip, scratch
    memory): an inference tensor can neither be modified nor saved for backward later. The grad mode
    is unchanged, and off in inference mode.
    """
    if not torch.is_inference_mode_enabled():
        yield
        return
    with torch.inference_mode(False), torch.no_grad():
        yield


@contextmanager
def with_gradients() -> Iterator[None]:
    """Record gradients within the block, even under ``torch.no_grad`` or ``torch.inference_mode``.

    Use it for functions that train a part of a model, which are also called where models are
    evaluated.
    """
    with torch.inference_mode(False), torch.enable_grad():
        yield
