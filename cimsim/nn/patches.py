"""Methods of a module's class that libraries keep in attributes of the module.

The hooks of Accelerate, which ``device_map=`` adds to models of Hugging Face, keep the forward of
the class as ``_old_forward`` and put their own into the attribute ``forward``. A module whose class
changes must keep the forward of its new class there.
"""

from __future__ import annotations

from types import MethodType

from torch import nn

_KEPT_BY_ACCELERATE = "_old_forward"


def rebind_methods(module: nn.Module, kind: type[nn.Module]) -> None:
    """Replace the methods of its class that ``module`` stores with those of the class ``kind``."""
    for name, value in vars(module).items():
        if _is_own_method(module, value):
            vars(module)[name] = MethodType(getattr(kind, value.__func__.__name__), module)


def hides_forward(module: nn.Module) -> bool:
    """Whether an attribute of ``module`` replaces the forward of its class, and may call one of
    another class; Accelerate's hooks do not."""
    own = vars(module)
    kept = own.get("forward"), own.get(_KEPT_BY_ACCELERATE)
    return "forward" in own and not any(_is_own_method(module, value) for value in kept)


def _is_own_method(module: nn.Module, value: object) -> bool:
    """Whether ``value`` is a method of the class of ``module``, bound to it."""
    if not isinstance(value, MethodType) or value.__self__ is not module:
        return False
    return getattr(type(module), value.__func__.__name__, None) is value.__func__
