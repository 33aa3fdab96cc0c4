"""Activation checkpointing: modules whose activations are recomputed in backward."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

from cimsim.errors import CimsimError
from cimsim.nn import AnalogLayer
from cimsim.nn.layer import Stage
from cimsim.suggest import unknown


def recompute(model: nn.Module, patterns: Iterable[str]) -> None:
    """Checkpoint the activations of all modules that match a pattern, such as ``blocks.*``.

    These modules store only their inputs for backward. Modules inside a matching module are not
    wrapped separately.

    The recomputation uses the same chips, reads and dropout masks. Source: T. Chen et al.,
    "Training Deep Nets with Sublinear Memory Cost", arXiv:1604.06174 (2016).

    Raises:
        CimsimError: if a pattern matches no module.
    """
    names = [name for name, _ in model.named_modules() if name]
    chosen: list[str] = []
    for pattern in patterns:
        matched = [name for name in names if fnmatchcase(name, pattern)]
        if not matched:
            raise CimsimError(f"recompute: {unknown('module', pattern, names)}")
        chosen += matched
    outer = [n for n in dict.fromkeys(chosen) if not any(n.startswith(f"{o}.") for o in chosen)]
    for name in outer:
        _wrap(model.get_submodule(name))


def _wrap(module: nn.Module) -> None:
    inner = module.forward
    layers = [layer for layer in module.modules() if isinstance(layer, AnalogLayer)]

    def forward(*arguments: Any, **named: Any) -> Any:
        if not module.training:
            return inner(*arguments, **named)
        if torch.is_grad_enabled():
            stages = [(layer, layer.stage) for layer in layers]
            return checkpoint(
                inner,
                *arguments,
                use_reentrant=False,
                context_fn=lambda: (nullcontext(), _staged(stages)),
                **named,
            )
        with saved_tensors_hooks(_same, _same):  # same random draws as with gradients
            return inner(*arguments, **named)

    module.forward = forward


@contextmanager
def _staged(stages: list[tuple[AnalogLayer, Stage]]) -> Iterator[None]:
    """Restore the stages (analog or digital) that the layers had in the forward pass."""
    with ExitStack() as stack:
        for layer, stage in stages:
            stack.enter_context(layer.staged(stage))
        yield


def _same(tensor: Tensor) -> Tensor:
    return tensor
