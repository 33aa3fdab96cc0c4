"""What is no model, and tensors that no analog layer computes with.

Kernels read memory; sparse and nested tensors have another layout there, and those that wrap others
have none.
"""

from __future__ import annotations

from torch import Tensor, nn, strided

from cimsim.errors import CimsimError
from cimsim.torch_private import holds_numbers


def require_module(model: object) -> None:
    """Refuse what is no module.

    Raises:
        CimsimError: see there.
    """
    if not isinstance(model, nn.Module):
        raise CimsimError(f"a model is a torch.nn.Module, not a {type(model).__name__}")


def refuse_input(name: str, x: Tensor, weight: Tensor) -> None:
    """Refuse an input ``x`` of the layer ``name`` that is not an ordinary dense tensor, or not
    where the layer's weight is.

    Raises:
        CimsimError: see there.
    """
    if x.is_nested:
        raise CimsimError(
            f"layer '{name}' takes dense tensors and was given a nested one; pad it: "
            "torch.nested.to_padded_tensor(x, 0.0)"
        )
    if x.layout is not strided:
        raise CimsimError(
            f"layer '{name}' takes dense tensors and was given one of layout {x.layout}; give it "
            "x.to_dense()"
        )
    if not holds_numbers(x):
        raise CimsimError(
            f"layer '{name}' takes ordinary tensors and was given a {type(x).__name__}, which "
            "wraps others; give it the tensor that is meant"
        )
    if x.device != weight.device:
        raise CimsimError(
            f"layer '{name}' is on {weight.device} and its input on {x.device}; move one to the "
            f"other, such as x.to('{weight.device}')"
        )


def refuse_weight(weight: Tensor) -> None:
    """Refuse a weight that a chip cannot be programmed with.

    Raises:
        CimsimError: if it is not dense, or wraps other tensors, as a quantized weight of torchao
            and a part of a sharded weight do.
    """
    if weight.layout is strided and holds_numbers(weight):
        return
    what = f"a {type(weight).__name__}" if weight.layout is strided else f"of {weight.layout}"
    raise CimsimError(
        f"its weight is {what}, and a chip is programmed with an ordinary dense tensor; call "
        "cimsim.convert before weights are quantized, made sparse or sharded, or leave the layer "
        "digital (keep_digital=)"
    )
