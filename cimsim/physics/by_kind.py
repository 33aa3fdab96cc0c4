"""Dispatch to a handler by the class of the first argument."""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import Any, Generic, TypeVar, get_args, get_type_hints

_Result = TypeVar("_Result")
_Handler = TypeVar("_Handler", bound=Callable[..., Any])


class ByKind(Generic[_Result]):
    """Decorator for a function with one handler for each class of its first argument.

    Like ``functools.singledispatch``, but without graph breaks in ``torch.compile``: singledispatch
    queries Python's registry of abstract classes, which cannot be traced. The effect classes of a
    profile have no subclasses, so looking up the class is sufficient.

    Args:
        default: function to call if no handler is registered.
    """

    def __init__(self, default: Callable[..., _Result]) -> None:
        update_wrapper(self, default)
        self._default = default
        self.registry: dict[type, Callable[..., _Result]] = {}

    def __call__(self, effect: object, *arguments: Any, **named: Any) -> _Result:
        return self.registry.get(type(effect), self._default)(effect, *arguments, **named)

    def register(self, handler: _Handler) -> _Handler:
        """Register ``handler`` for the class or union of classes that annotates its argument."""
        annotation = next(iter(get_type_hints(handler).values()))
        for kind in get_args(annotation) or (annotation,):
            self.registry[kind] = handler
        return handler
