"""Functions and other objects that the user names: ``package.module:function``.

Their code is run, so such a name must come from the user, not from a file that someone else may
have written.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
import traceback
from collections.abc import Callable
from types import ModuleType
from typing import Any

from cimsim.errors import CimsimError

# SystemExit too: a script without a main guard may exit when it is imported.
FAULTS = (Exception, SystemExit)
_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


def is_name(text: str) -> bool:
    """Whether ``text`` has the form ``package.module:function``.

    >>> is_name("my_models:build"), is_name("runs/demo"), is_name("C:/runs")
    (True, False, False)
    """
    return _NAME.fullmatch(text) is not None


def object_named(name: str, part: str) -> Any:
    """Import the object ``package.module:object``; ``part`` begins error messages.

    The module is searched on Python's path and in the working folder.

    Raises:
        CimsimError: if there is no such module or object, or its import fails.
    """
    module, attribute = _module(name, part), name.partition(":")[2]
    if not hasattr(module, attribute):
        raise CimsimError(f"{part} '{name}': {module.__file__} has no '{attribute}'")
    return getattr(module, attribute)


def named_function(name: str, part: str = "model") -> Callable[..., Any]:
    """Import a function, see :func:`object_named`.

    Raises:
        CimsimError: if there is no such module or function, or its import fails.
    """
    module, attribute = _module(name, part), name.partition(":")[2]
    function: Callable[..., Any] | None = getattr(module, attribute, None)
    if not callable(function):
        raise CimsimError(f"{part} '{name}': {module.__file__} has no function '{attribute}'")
    return function


def _module(name: str, part: str) -> ModuleType:
    module_name = name.partition(":")[0]
    if module_name.endswith(".py") or not is_name(name):
        raise CimsimError(
            f"{part} '{name}' must have the form package.module:function, such as 'my_models:build'"
        )
    if os.getcwd() not in sys.path:
        # Not on the path of a console script; added last, so that it hides no installed module.
        sys.path.append(os.getcwd())
    try:
        return importlib.import_module(module_name)
    except FAULTS as error:
        absent = error.name if isinstance(error, ModuleNotFoundError) else None
        if absent and f"{module_name}.".startswith(f"{absent}."):
            raise CimsimError(
                f"{part} '{name}': no module '{absent}' in {os.getcwd()} or in the installed "
                "packages"
            ) from error
        raise CimsimError(f"{part} '{name}': import failed: {described(error)}") from error


def described(error: BaseException) -> str:
    """Return ``file.py:12: ZeroDivisionError: division by zero``, with the error's origin."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    file, line, reason = frame.filename, frame.lineno, str(error)
    if isinstance(error, SyntaxError) and error.filename:
        file, line, reason = error.filename, error.lineno, error.msg
    # The first line is enough: some libraries add pages of advice.
    return f"{file}:{line}: {type(error).__name__}: {reason.strip().partition(chr(10))[0]}"
