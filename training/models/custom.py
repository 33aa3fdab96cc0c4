"""User-defined models, named ``package.module:function``."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from cimsim.errors import CimsimError
from cimsim.named import FAULTS, described, named_function
from cimsim.training.data_spec import Form, is_function

_INPUTS: dict[Form, str] = {"images": "images", "vectors": "vectors", "text": "windows"}


def is_custom(spec: str) -> bool:
    """Return whether ``spec`` names a user-defined model."""
    return ":" in spec


def require_trust(
    spec: str, trust: bool, where: str, part: Literal["model", "data"] = "model"
) -> None:
    """Reject a user-defined function named in an untrusted file, since importing it runs code.

    Args:
        spec: name of the model or the data.
        trust: whether the user trusts ``where``.
        where: origin of the name, such as ``the run in DIR``.
        part: what ``spec`` names.

    Raises:
        CimsimError: if ``spec`` is such a function and ``trust`` is False.
    """
    custom = is_custom(spec) if part == "model" else is_function(spec)
    if custom and not trust:
        raise CimsimError(
            f"{where} names the {part} {spec!r}, a function whose module would be imported and "
            "run; add --trust if you trust its origin (in Python: trust=True)"
        )


def custom_model(
    spec: str, input_shape: tuple[int, ...], classes: int, form: Form = "images"
) -> nn.Module:
    """Call ``function(input_shape=..., classes=...)`` of ``spec`` and test its model on two inputs.

    The module is searched on Python's path and in the working folder. Its code is run, so ``spec``
    must come from the user; see :func:`require_trust`.

    Raises:
        CimsimError: if there is no such module or function, if the function fails or does not
            return an ``nn.Module``, or if its network does not map images [N, *input_shape] to
            logits [N, classes].
    """
    build = named_function(spec)
    try:
        model = build(input_shape=input_shape, classes=classes)
    except FAULTS as error:
        raise CimsimError(f"model '{spec}' could not be built: {described(error)}") from error
    if not isinstance(model, nn.Module):
        raise CimsimError(
            f"model '{spec}' returned {type(model).__name__}; it must return a torch.nn.Module"
        )
    _try_out(spec, model, input_shape, classes, form)
    return model


def _try_out(
    spec: str, model: nn.Module, input_shape: tuple[int, ...], classes: int, form: Form
) -> None:
    model.eval()
    text = form == "text"
    dtype = torch.int64 if text else torch.float32
    expected = (2, *input_shape, classes) if text else (2, classes)
    try:
        with torch.no_grad():
            logits = model(torch.zeros(2, *input_shape, dtype=dtype))
    except FAULTS as error:
        shape = "x".join(map(str, input_shape))
        raise CimsimError(
            f"model '{spec}' cannot process {shape} {_INPUTS[form]}: {described(error)}"
        ) from error
    if not isinstance(logits, Tensor) or logits.shape != expected:
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise CimsimError(
            f"model '{spec}' must return {expected} for 2 inputs, one logit per class, not {got}"
        )
    model.train()
