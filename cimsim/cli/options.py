"""Command-line options out of the fields of a configuration, so that each is described once; and a
check of one that several commands have."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from cimsim.errors import CimsimError

Result = TypeVar("Result")


def options_of(
    config: type[BaseModel], flags: Mapping[str, str], without: Sequence[str] = ()
) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
    """Give a command one option per field of ``config``; they arrive in its ``**settings``.

    An option that the user does not give arrives as ``None`` (or an empty list): defaults are the
    configuration's business. Help texts are the fields' descriptions. ``flags`` renames options
    whose flag is not the field's name; fields in ``without`` get none.
    """

    def decorate(command: Callable[..., Result]) -> Callable[..., Result]:
        own = inspect.signature(command, eval_str=True)
        fixed = [p for p in own.parameters.values() if p.kind is not p.VAR_KEYWORD]
        added = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=[] if _is_list(field) else None,
                annotation=_option(field, flags.get(name, "--" + name.replace("_", "-"))),
            )
            for name, field in config.model_fields.items()
            if name not in without
        ]
        parameters = [*fixed, *added]
        command.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in parameters}
        return command

    return decorate


def _option(field: FieldInfo, flag: str) -> Any:
    kind = list[str] if _is_list(field) else _plain(field.annotation) | None
    shown = False if field.is_required() or field.default in (None, ()) else str(field.default)
    return Annotated[kind, typer.Option(flag, help=field.description, show_default=shown)]


def _is_list(field: FieldInfo) -> bool:
    return get_origin(field.annotation) is tuple


def _plain(annotation: Any) -> type:
    """The type a user writes: of ``float | None``, ``float``; of a choice of words, text, which the
    model checks."""
    if get_origin(annotation) is UnionType:
        annotation = next(kind for kind in get_args(annotation) if kind is not type(None))
    if get_origin(annotation) is Literal:
        return str
    if annotation not in (str, int, float, bool, Path):
        raise TypeError(f"no command-line option for a field of type {annotation}")
    kind: type = annotation
    return kind


def check_table(path: Path) -> None:
    """Refuse a name that no table can be written to, before anything is computed for it.

    Raises:
        CimsimError: if it does not end in .csv, or cannot be written.
    """
    if path.suffix.lower() != ".csv":
        raise CimsimError(f"{path}: the table is written as CSV; give a name ending in .csv")
    if not path.parent.is_dir():
        raise CimsimError(f"{path}: there is no folder {path.parent} to write it to")
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise CimsimError(f"{path}: cannot be written; choose another --out")
