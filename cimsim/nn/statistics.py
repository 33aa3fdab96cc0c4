"""Statistics that modules keep from batch to batch, measured again as plain averages."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from cimsim.errors import CimsimError
from cimsim.torch_private import BatchNorm

logger = logging.getLogger("cimsim")


def is_batch_norm(module: nn.Module) -> bool:
    """Whether ``module`` normalizes by statistics of training batches."""
    return isinstance(module, BatchNorm) and module.track_running_stats


@contextmanager
def averaging(modules: Mapping[str, Any], verb: str) -> Iterator[None]:
    """Replace the statistics of ``modules`` by the average over the batches that pass in the block.

    The modules keep statistics as batch normalization does (``reset_running_stats``, ``momentum``)
    and are in training mode within the block. A module that no batch reaches keeps the statistics
    that it had, with a warning in the log that begins with ``verb``; all modules keep theirs if the
    block raises an error.
    """
    before = {name: _buffers(module) for name, module in modules.items()}
    momenta = {name: module.momentum for name, module in modules.items()}
    reached: set[str] = set()

    def watch(name: str) -> Any:
        return lambda _, inputs: reached.add(name)

    handles = [module.register_forward_pre_hook(watch(n)) for n, module in modules.items()]
    unchanged = set(modules)
    try:
        for module in modules.values():
            module.reset_running_stats()
            module.train()
            module.momentum = None  # the plain average
        yield
        _require_finite(modules, verb)
        few = {name for name in reached if not getattr(modules[name], "seen", True)}
        unchanged -= reached - few
    finally:
        for handle in handles:
            handle.remove()
        for name, module in modules.items():
            module.momentum = momenta[name]
            if name in unchanged:
                _restore(module, before[name])
    report_unreached(verb, sorted(unchanged - few), "statistics")
    if few:
        text = "%s: the batches have too few vectors for %s; statistics unchanged"
        logger.warning(text, verb, _few(sorted(few)))


def _require_finite(modules: Mapping[str, Any], verb: str) -> None:
    for name, module in modules.items():
        if not all(values.isfinite().all() for values in module.buffers()):
            raise CimsimError(
                f"{verb}: the statistics of '{name}' are not finite; look for NaN or infinity in "
                "the data"
            )


@torch.no_grad()
def _restore(module: nn.Module, buffers: dict[str, Tensor]) -> None:
    for name, values in buffers.items():
        module.get_buffer(name).copy_(values)


def _buffers(module: nn.Module) -> dict[str, Tensor]:
    return {name: values.clone() for name, values in module.named_buffers()}


def report_unreached(verb: str, names: Sequence[str], what: str) -> None:
    """Log a warning about modules that no batch reached and whose ``what`` did not change."""
    if names:
        logger.warning("%s: no batch reached %s; %s unchanged", verb, _few(names), what)


def report_silent(verb: str, names: Sequence[str]) -> None:
    """Log a warning about layers whose converters saw only zeros."""
    if names:
        logger.warning(
            "%s: all signals of %s were 0, because weights or inputs are 0; existing converter "
            "ranges were kept and missing ones set to 1; calibrate again with nonzero signals",
            verb,
            _few(names),
        )


def _few(names: Sequence[str]) -> str:
    text = ", ".join(f"'{name}'" for name in names[:5])
    return f"{text} and {len(names) - 5} more" if len(names) > 5 else text
