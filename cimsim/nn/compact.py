"""The modules of a model that keep less for backward than those of torch."""

from __future__ import annotations

from torch import nn

from cimsim.nn.computed import cast
from cimsim.nn.max_pooling import MaxPool1d, MaxPool2d
from cimsim.nn.patches import hides_forward
from cimsim.nn.relu import ReLU, ReLU6
from cimsim.nn.smooth_activations import GELU, SiLU

_COMPACT: dict[type[nn.Module], type[nn.Module]] = {
    nn.ReLU: ReLU,
    nn.ReLU6: ReLU6,
    nn.GELU: GELU,
    nn.SiLU: SiLU,
    nn.MaxPool1d: MaxPool1d,
    nn.MaxPool2d: MaxPool2d,
}
_PLAIN = {compact: plain for plain, compact in _COMPACT.items()}


def make_compact(model: nn.Module) -> None:
    """Turn torch's activations and max pooling layers in ``model`` into those that keep less for
    backward."""
    for module in model.modules():
        if type(module) in _COMPACT and not hides_forward(module):
            cast(module, _COMPACT[type(module)])


def restore_plain(model: nn.Module) -> None:
    """Undo :func:`make_compact`."""
    for module in model.modules():
        if type(module) in _PLAIN:
            cast(module, _PLAIN[type(module)])
