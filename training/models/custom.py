"""Models of the user's own, named ``package.module:function``."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from cimsim.errors import CimsimError

# SystemExit too: a script without a main guard ends the program when it is imported.
_FAULTS = (Exception, SystemExit)


def is_custom(spec: str) -> bool:
    """Whether ``spec`` names a function of the user's own."""
    return ":" in spec


def require_trust(spec: str, trust: bool, where: str) -> None:
    """Refuse a function of somebody's own that only a file names, since to import it runs its code.

    Args:
        spec: the model, as ``where`` names it.
        trust: whether the user has said that ``where`` is to be trusted.
        where: what names it, such as ``the run in DIR``.

    Raises:
        CimsimError: if ``spec`` is such a function and is not trusted.
    """
    if is_custom(spec) and not trust:
        raise CimsimError(
            f"{where} names the model {spec!r}, a function whose module would be imported and run; "
            "add --trust if you trust its origin (in Python, trust=True)"
        )


def custom_model(spec: str, input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """What ``function(input_shape=..., classes=...)`` of ``spec`` returns, tried on two images.

    The module is looked for where Python looks, and in the working folder. Its code runs, so that
    ``spec`` must be the user's own words, see :func:`require_trust`.

    Raises:
        CimsimError: no such module or function, the function fails, it returns no ``nn.Module``,
            or its network does not turn images [N, *input_shape] into logits [N, classes].
    """
    build = _function(spec)
    try:
        model = build(input_shape=input_shape, classes=classes)
    except _FAULTS as error:
        raise CimsimError(f"model '{spec}' could not be built: {_told(error)}") from error
    if not isinstance(model, nn.Module):
        raise CimsimError(
            f"model '{spec}' returned {type(model).__name__}; it must return a torch.nn.Module"
        )
    _try_out(spec, model, input_shape, classes)
    return model


def _function(spec: str) -> Callable[..., Any]:
    module_name, _, function_name = spec.partition(":")
    names = [*module_name.split("."), function_name]
    if module_name.endswith(".py") or not all(name.isidentifier() for name in names):
        raise CimsimError(
            f"model '{spec}': write it the way Python imports it, package.module:function, "
            "such as 'my_models:build'"
        )
    if os.getcwd() not in sys.path:
        # A console script does not look there; last, so that nothing installed is hidden by it.
        sys.path.append(os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except _FAULTS as error:
        absent = error.name if isinstance(error, ModuleNotFoundError) else None
        if absent and f"{module_name}.".startswith(f"{absent}."):
            raise CimsimError(
                f"model '{spec}': no module '{absent}' in {os.getcwd()} or among the installed "
                "packages"
            ) from error
        raise CimsimError(f"model '{spec}': import failed: {_told(error)}") from error
    function: Callable[..., Any] | None = getattr(module, function_name, None)
    if not callable(function):
        raise CimsimError(f"model '{spec}': {module.__file__} has no function '{function_name}'")
    return function


def _try_out(spec: str, model: nn.Module, input_shape: tuple[int, ...], classes: int) -> None:
    model.eval()
    text = len(input_shape) == 1
    dtype = torch.int64 if text else torch.float32
    expected = (2, *input_shape, classes) if text else (2, classes)
    try:
        with torch.no_grad():
            logits = model(torch.zeros(2, *input_shape, dtype=dtype))
    except _FAULTS as error:
        shape = "x".join(map(str, input_shape))
        raise CimsimError(
            f"model '{spec}' cannot take {shape} {'windows' if text else 'images'}: {_told(error)}"
        ) from error
    if not isinstance(logits, Tensor) or logits.shape != expected:
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise CimsimError(
            f"model '{spec}' gives {got} for 2 inputs; it must give {expected}, one logit per class"
        )
    model.train()


def _told(error: BaseException) -> str:
    """``file.py:12: ZeroDivisionError: division by zero``, from where the error was raised."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{frame.filename}:{frame.lineno}: {type(error).__name__}: {error}"
