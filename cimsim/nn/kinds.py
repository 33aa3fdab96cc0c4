"""Which layers of torch can be analog, and what stands for them."""

from __future__ import annotations

from torch import nn

from cimsim.nn import conv, hugging_face
from cimsim.nn.attention import UnpackedAttention
from cimsim.nn.layer import AnalogLayer
from cimsim.nn.linear import AnalogLinear
from cimsim.nn.packed import Unpacked
from cimsim.nn.recurrent import UnpackedGRU, UnpackedLSTM, UnpackedRNN

_ANALOG: dict[type[nn.Module], type[AnalogLayer]] = {
    kind.stands_for: kind
    for kind in (
        AnalogLinear,
        conv.AnalogConv1d,
        conv.AnalogConv2d,
        conv.AnalogConv3d,
        conv.AnalogConvTranspose1d,
        conv.AnalogConvTranspose2d,
        conv.AnalogConvTranspose3d,
    )
}

PACKED: dict[type[nn.Module], type[Unpacked]] = {
    kind.stands_for: kind for kind in (UnpackedAttention, UnpackedRNN, UnpackedGRU, UnpackedLSTM)
}
"""Modules that hold several layers' weights, and what they are taken apart into."""


def analog_kind(layer: nn.Module) -> type[AnalogLayer] | None:
    """What ``layer`` can become; None for what stays digital."""
    kind = type(layer)
    if kind is hugging_face.conv1d():
        return hugging_face.analog_conv1d()
    return _ANALOG.get(kind)


def resembles(layer: nn.Module) -> bool:
    """Whether ``layer`` is of a class derived from one that could be analog, so that its forward
    may be another."""
    if isinstance(layer, AnalogLayer | Unpacked):
        return False
    return isinstance(layer, (*_ANALOG, *PACKED)) and type(layer) not in _ANALOG
