"""User-defined models, named ``package.module:function``."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from cimsim.errors import CimsimError
from cimsim.training.data_spec import Form, is_function

_INPUTS: dict[Form, str] = {"images": "images", "vectors": "vectors", "text": "windows"}

# SystemExit too: a script without a main guard may exit when it is imported.
_FAULTS = (Exception, SystemExit)


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
    except _FAULTS as error:
        raise CimsimError(f"model '{spec}' could not be built: {described(error)}") from error
    if not isinstance(model, nn.Module):
        raise CimsimError(
            f"model '{spec}' returned {type(model).__name__}; it must return a torch.nn.Module"
        )
    _try_out(spec, model, input_shape, classes, form)
    return model


def named_function(spec: str, part: str = "model") -> Callable[..., Any]:
    """Import the function that ``spec`` names; ``part`` begins error messages.

    Raises:
        CimsimError: if there is no such module or function.
    """
    module_name, _, function_name = spec.partition(":")
    names = [*module_name.split("."), function_name]
    if module_name.endswith(".py") or not all(name.isidentifier() for name in names):
        raise CimsimError(
            f"{part} '{spec}' must have the form package.module:function, such as 'my_models:build'"
        )
    if os.getcwd() not in sys.path:
        # Not on the path of a console script; added last, so that it hides no installed module.
        sys.path.append(os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except _FAULTS as error:
        absent = error.name if isinstance(error, ModuleNotFoundError) else None
        if absent and f"{module_name}.".startswith(f"{absent}."):
            raise CimsimError(
                f"{part} '{spec}': no module '{absent}' in {os.getcwd()} or in the installed "
                "packages"
            ) from error
        raise CimsimError(f"{part} '{spec}': import failed: {described(error)}") from error
    function: Callable[..., Any] | None = getattr(module, function_name, None)
    if not callable(function):
        raise CimsimError(f"{part} '{spec}': {module.__file__} has no function '{function_name}'")
    return function


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
    except _FAULTS as error:
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


def described(error: BaseException) -> str:
    """Return ``file.py:12: ZeroDivisionError: division by zero``, with the error's origin."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{frame.filename}:{frame.lineno}: {type(error).__name__}: {error}"
