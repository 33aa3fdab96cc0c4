"""The fast paths of torch's transformer encoder in evaluation mode, which read the weights of their
layers and never call the layers."""

from __future__ import annotations

from torch import nn

from cimsim.nn.layer import AnalogLayer
from cimsim.nn.unpacking import Unpacked

_SWITCHES: dict[type[nn.Module], tuple[str, object]] = {
    nn.TransformerEncoderLayer: ("activation_relu_or_gelu", 0),
    nn.TransformerEncoder: ("use_nested_tensor", False),
}
_BEFORE = "_fast_path_before"


def close_fast_paths(model: nn.Module) -> None:
    """Switch fast paths off where they would bypass a layer that is analog or unpacked."""
    for module in model.modules():
        for kind, (switch, off) in _SWITCHES.items():
            if isinstance(module, kind) and not hasattr(module, _BEFORE) and _is_changed(module):
                setattr(module, _BEFORE, getattr(module, switch))
                setattr(module, switch, off)


def open_fast_paths(model: nn.Module) -> None:
    """Undo :func:`close_fast_paths`."""
    for module in model.modules():
        for kind, (switch, _) in _SWITCHES.items():
            if isinstance(module, kind) and hasattr(module, _BEFORE):
                setattr(module, switch, getattr(module, _BEFORE))
                delattr(module, _BEFORE)


def _is_changed(module: nn.Module) -> bool:
    return any(isinstance(part, AnalogLayer | Unpacked) for part in module.modules())
