"""Layers of torch that can be analog, and their replacements."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn
from torch.nn.utils import parametrize

from cimsim.nn import cells, conv, hugging_face
from cimsim.nn.attention import UnpackedAttention
from cimsim.nn.computed import computed
from cimsim.nn.layer import AnalogLayer
from cimsim.nn.linear import AnalogLinear
from cimsim.nn.patches import hides_forward
from cimsim.nn.recurrent import UnpackedGRU, UnpackedLSTM, UnpackedRNN
from cimsim.nn.unpacking import Unpacked
from cimsim.nn.weight_adapters import WeightAdapter

_ANALOG: dict[type[nn.Module], type[AnalogLayer]] = {
    kind.torch_class: kind
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
    kind.torch_class: kind
    for kind in (
        UnpackedAttention,
        UnpackedRNN,
        UnpackedGRU,
        UnpackedLSTM,
        cells.UnpackedRNNCell,
        cells.UnpackedGRUCell,
        cells.UnpackedLSTMCell,
    )
}
"""Modules that contain the weights of several layers, and what they are unpacked to."""

_NO_PRODUCT = (nn.Embedding, nn.EmbeddingBag, nn.LayerNorm, nn.RMSNorm, nn.PReLU)


def analog_kind(layer: nn.Module) -> type[AnalogLayer] | None:
    """The analog class for ``layer``; None if it stays digital."""
    weight = layer._parameters.get("weight")
    if "weight" in layer._parameters and (weight is None or not weight.numel()):
        return None
    if hides_forward(layer):
        return None
    kind = parametrize.type_before_parametrizations(layer)
    if kind is hugging_face.conv1d():
        return hugging_face.analog_conv1d()
    return _ANALOG.get(kind)


def unpacked_kind(module: nn.Module) -> type[Unpacked] | None:
    """The class that ``module`` can be unpacked to; None if it stays whole."""
    kind = PACKED.get(parametrize.type_before_parametrizations(module))
    if kind is None or hides_forward(module):
        return None
    return None if _computed_inside(module, kind) else kind


def obstacle(module: nn.Module) -> str | None:
    """Why ``module`` stays digital although it may multiply by its weights; None for what is
    analog, can be, or does not multiply."""
    if isinstance(module, (AnalogLayer, Unpacked, WeightAdapter, *_NO_PRODUCT)):
        return None
    kind = parametrize.type_before_parametrizations(module)
    known = kind in _ANALOG or kind in PACKED or kind is hugging_face.conv1d()
    if known and hides_forward(module):
        return "its own attribute 'forward' replaces the forward of its class"
    if kind in _ANALOG and analog_kind(module) is None:
        return "it has no weights"
    if kind in _ANALOG or kind is hugging_face.conv1d():
        return None
    if kind in PACKED:
        return _computed_inside(module, PACKED[kind])
    if isinstance(module, (*_ANALOG, *PACKED)):
        return "its class may compute something else"
    if matrices := ", ".join(f"'{name}'" for name in _matrices(module)):
        return f"its forward may multiply by its own {matrices}, which cimsim cannot detect"
    return None


def _computed_inside(module: nn.Module, kind: type[Unpacked]) -> str | None:
    """The reason why ``module`` cannot be unpacked to ``kind``, because a weight is computed; None
    if it can."""
    for name in kind.places(module):
        if computing := computed(module, name):
            return f"{computing} computes its '{name}'; remove that first"
    return None


def _matrices(module: nn.Module) -> Iterator[str]:
    """Names of the parameters of ``module`` itself that may be multiplied by vectors: matrices
    without an axis of length one, which vectors and tables that are added have."""
    for name, parameter in module.named_parameters(recurse=False):
        if parameter.dim() >= 2 and min(parameter.shape) > 1:
            yield name
