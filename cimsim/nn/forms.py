"""Checks of models, inputs and weights.

Kernels read memory: sparse and nested tensors have another layout there, and tensors that wrap
other tensors have none.
"""

from __future__ import annotations

from typing import NoReturn, TypeVar

from torch import Tensor, nn, strided

from cimsim.errors import CimsimError
from cimsim.torch_private import holds_numbers

Model = TypeVar("Model", bound=nn.Module)
"""The type of a model, which functions that return their argument keep."""


def require_module(model: object) -> None:
    """Raise a :class:`CimsimError` if ``model`` is not a module."""
    if not isinstance(model, nn.Module):
        raise CimsimError(f"a model must be a torch.nn.Module, not a {type(model).__name__}")


def require_weights(model: nn.Module) -> None:
    """Raise a :class:`CimsimError` if parameters of ``model`` are on the device ``meta``."""
    if any(parameter.is_meta for parameter in model.parameters()):
        raise CimsimError(
            f"this {type(model).__name__} is on the device 'meta', where it has no weights; make "
            "it on another device, or call model.to_empty(device='cpu') and load its weights"
        )


def inner_module(model: nn.Module) -> nn.Module:
    """The model within the wrappers of ``torch.compile`` and ``DistributedDataParallel``."""
    while True:
        if isinstance(getattr(model, "_orig_mod", None), nn.Module):
            model = model._orig_mod  # type: ignore[assignment]
        elif isinstance(model, nn.parallel.DistributedDataParallel):
            model = model.module
        else:
            return model


def refuse_input(name: str, x: Tensor, weight: Tensor) -> None:
    """Check the input ``x`` of the layer ``name``.

    Raises:
        CimsimError: if it is not an ordinary dense tensor on the device of the layer's weight.
    """
    if x.is_nested:
        raise CimsimError(
            f"layer '{name}' expects dense tensors, but got a nested tensor; pad it: "
            "torch.nested.to_padded_tensor(x, 0.0)"
        )
    if x.layout is not strided:
        raise CimsimError(
            f"layer '{name}' expects dense tensors, but got one of layout {x.layout}; "
            "pass x.to_dense()"
        )
    if not holds_numbers(x):
        raise CimsimError(
            f"layer '{name}' expects ordinary tensors, but got a {type(x).__name__}, which wraps "
            "other tensors; pass a plain tensor"
        )
    if x.device != weight.device:
        raise CimsimError(
            f"layer '{name}' is on {weight.device} and its input on {x.device}; move one to the "
            f"other, such as x.to('{weight.device}')"
        )


def refuse_weight(weight: Tensor, name: str | None = None) -> None:
    """Check that a chip can be programmed with ``weight``, the weight of layer ``name``.

    Raises:
        CimsimError: if it is not dense, or wraps other tensors, as a quantized weight of torchao
            and a part of a sharded weight do.
    """
    if weight.layout is strided and holds_numbers(weight):
        return
    what = f"a {type(weight).__name__}" if weight.layout is strided else f"of {weight.layout}"
    where = "" if name is None else f"layer '{name}': "
    raise CimsimError(
        f"{where}its weight is {what}, and a chip is programmed with an ordinary dense tensor; "
        "call cimsim.convert before weights are quantized, made sparse or sharded, or leave the "
        "layer digital (keep_digital=)"
    )


def refuse_dtype(name: str, x: Tensor, weight: Tensor) -> NoReturn:
    """Refuse an input ``x`` or a ``weight`` of the layer ``name`` that is not floating-point.

    Raises:
        CimsimError: always.
    """
    if not weight.is_floating_point():
        raise CimsimError(
            f"layer '{name}' has weights of {weight.dtype}, but cells hold real numbers; leave the "
            "layer digital (keep_digital=) or use floating-point weights"
        )
    raise CimsimError(
        f"layer '{name}' got an input of {x.dtype}; an analog layer needs floating-point inputs, "
        "such as x.float()"
    )
