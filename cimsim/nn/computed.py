"""Weights that a layer computes from other tensors.

A parametrization (``torch.nn.utils.parametrize``: weight norm, spectral norm, orthogonal, …) makes
the weight a property of a new class; a hook (``torch.nn.utils.prune``, the older weight
norm) writes it into an attribute before each call.
"""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrize

from cimsim.nn.modes import evaluating
from cimsim.nn.patches import rebind_methods
from cimsim.torch_private import is_parametrized

_OWN = frozenset(("__dict__", "__weakref__", "__doc__", "__module__", "__deepcopy__"))


def cast(module: nn.Module, kind: type[nn.Module]) -> None:
    """Change the class of ``module`` to ``kind``; its parametrizations stay."""
    rebind_methods(module, kind)
    if is_parametrized(module):
        own = {key: value for key, value in vars(type(module)).items() if key not in _OWN}
        if not hasattr(kind, "__deepcopy__"):  # torch forbids to pickle a parametrized module
            own["__deepcopy__"] = _deepcopy
        kind = type(f"Parametrized{kind.__name__}", (kind,), {**own, "__module__": kind.__module__})
    module.__class__ = kind


def computed(module: nn.Module, name: str = "weight") -> str | None:
    """A description of what computes the parameter ``name``; None for an ordinary parameter.

    >>> computed(nn.Linear(2, 2))
    >>> computed(nn.utils.parametrizations.spectral_norm(nn.Linear(2, 2)))
    'the parametrization _SpectralNorm'
    """
    if parametrize.is_parametrized(module, name):
        steps: nn.ModuleList = module.parametrizations[name]  # type: ignore[index, assignment]
        return f"the parametrization {', '.join(type(step).__name__ for step in steps)}"
    if written_by_hook(module, name):
        return "a hook (pruning or weight norm)"
    return None


def written_by_hook(module: nn.Module, name: str = "weight") -> bool:
    """Whether the tensor ``name`` is an attribute that a hook writes before each call."""
    return isinstance(vars(module).get(name), Tensor)


def computed_once(module: nn.Module) -> AbstractContextManager[object]:
    """Within the block, each parametrized tensor of ``module`` is computed at its first use only.

    Some change whenever they are computed: spectral norm takes a step of its power iteration.
    """
    if is_parametrized(module):
        return parametrize.cached()
    return nullcontext()


def settled(module: nn.Module) -> AbstractContextManager[object]:
    """Within the block, computing a parametrized tensor of ``module`` changes no state."""
    if is_parametrized(module):
        parametrizations: Any = module.parametrizations
        return evaluating(parametrizations)
    return nullcontext()


def leave_graph(module: nn.Module, memo: dict[int, Any]) -> None:
    """Prepare ``memo`` so that ``copy.deepcopy`` copies the tensors that hooks wrote to ``module``
    without their graph, with which they cannot be copied; the hooks write them again at the next
    call."""
    for value in vars(module).values():
        if isinstance(value, Tensor) and not value.is_leaf:
            memo[id(value)] = value.detach().clone()


def _deepcopy(self: nn.Module, memo: dict[int, Any]) -> nn.Module:
    replica = self.__new__(type(self))
    memo[id(self)] = replica
    replica.__dict__ = copy.deepcopy(self.__dict__, memo)
    return replica
