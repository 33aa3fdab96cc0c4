"""Tensors that outlive the call that makes them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def lasting() -> Iterator[None]:
    """Within the block, new tensors are ordinary ones, even under ``torch.inference_mode``.

    For whatever a layer keeps from one call to the next (buffers, a programmed chip, scratch
    memory): an inference tensor can neither be written to nor saved for backward later on. Grad
    mode stays as it is, and off in inference mode.
    """
    if not torch.is_inference_mode_enabled():
        yield
        return
    with torch.inference_mode(False), torch.no_grad():
        yield
