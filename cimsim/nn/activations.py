"""The activations of a model that keep less for backward than those of torch."""

from __future__ import annotations

from torch import nn

from cimsim.nn.computed import cast
from cimsim.nn.patches import hides_forward
from cimsim.nn.relu import ReLU
from cimsim.nn.smooth_activations import GELU, SiLU

_COMPACT: dict[type[nn.Module], type[nn.Module]] = {nn.ReLU: ReLU, nn.GELU: GELU, nn.SiLU: SiLU}
_PLAIN = {compact: plain for plain, compact in _COMPACT.items()}


def compact_activations(model: nn.Module) -> None:
    """Turn every activation of torch in ``model`` into the one that keeps less for backward."""
    for module in model.modules():
        if type(module) in _COMPACT and not hides_forward(module):
            cast(module, _COMPACT[type(module)])


def restore_activations(model: nn.Module) -> None:
    """Undo :func:`compact_activations`."""
    for module in model.modules():
        if type(module) in _PLAIN:
            cast(module, _PLAIN[type(module)])
