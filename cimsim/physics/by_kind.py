"""One name for many handlers, chosen by the class of what a profile says."""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import Any, Generic, TypeVar, get_args, get_type_hints

_Result = TypeVar("_Result")
_Handler = TypeVar("_Handler", bound=Callable[..., Any])


class ByKind(Generic[_Result]):
    """Decorator of a function that has one handler for each kind of its first argument.

    Like ``functools.singledispatch``, but ``torch.compile`` can follow it: the original asks
    Python's registry of abstract classes, and that breaks the graph. The kinds of a profile have
    no subclasses, so a look-up of the class itself is enough.

    Args:
        default: called for what no handler is registered for.
    """

    def __init__(self, default: Callable[..., _Result]) -> None:
        update_wrapper(self, default)
        self._default = default
        self.registry: dict[type, Callable[..., _Result]] = {}

    def __call__(self, effect: object, *arguments: Any, **named: Any) -> _Result:
        return self.registry.get(type(effect), self._default)(effect, *arguments, **named)

    def register(self, handler: _Handler) -> _Handler:
        """Enter ``handler`` for the class, or each class of the union, that its first argument is
        annotated with."""
        annotation = next(iter(get_type_hints(handler).values()))
        for kind in get_args(annotation) or (annotation,):
            self.registry[kind] = handler
        return handler
