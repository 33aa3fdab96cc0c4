"""Command-line options made from the fields of a configuration, so that each is described once."""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import typer
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from cimsim.errors import CimsimError

Result = TypeVar("Result")
Config = TypeVar("Config", bound=BaseModel)
_OLD = "old_"  # prefix of the parameter of an older name of an option


def options_of(
    config: type[BaseModel],
    flags: Mapping[str, str] | None = None,
    without: Sequence[str] = (),
    defaults: Mapping[str, Any] | None = None,
) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
    """Give a command one option per field of ``config``; they arrive in its ``**settings``.

    An option that the user does not give arrives as ``None`` (or an empty list), so that the
    configuration decides on defaults. Help texts are the fields' descriptions. ``flags`` renames
    options whose flag is not the field's name; fields in ``without`` get none; ``defaults`` are
    those to print in the help, where they differ from the configuration's.
    """

    def decorate(command: Callable[..., Result]) -> Callable[..., Result]:
        own = inspect.signature(command, eval_str=True)
        fixed = [p for p in own.parameters.values() if p.kind is not p.VAR_KEYWORD]
        added = parameters_of(config, flags, without, defaults=defaults)
        return with_parameters(command, [*fixed, *added])

    return decorate


def with_parameters(
    command: Callable[..., Result], parameters: Sequence[inspect.Parameter]
) -> Callable[..., Result]:
    """Declare the parameters of a command that takes them by keyword."""
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    return command


def parameters_of(
    config: type[BaseModel],
    flags: Mapping[str, str] | None = None,
    without: Sequence[str] = (),
    required: bool = False,
    defaults: Mapping[str, Any] | None = None,
    panel: str | None = None,
) -> Iterator[inspect.Parameter]:
    """Yield a parameter for each field of ``config``.

    Args:
        config: the configuration.
        flags: flags of options whose flag is not the field's name.
        without: fields that get no option.
        required: whether a command without a required option ends in an error of typer.
        defaults: defaults to print in the help, where they differ from the configuration's.
        panel: heading of the options in the help.
    """
    for name, field in config.model_fields.items():
        if name in without:
            continue
        extra = _extra(field)
        flag = (flags or {}).get(name) or extra.get("flag") or "--" + name.replace("_", "-")
        empty: Any = [] if _is_list(field) else None
        kind = list[str] if _is_list(field) else _plain(field) | None
        details: dict[str, Any] = {**_limits(field), "metavar": extra.get("metavar")}
        details["rich_help_panel"] = panel
        default = (defaults or {}).get(name, field.default)
        if required and field.is_required():
            empty = inspect.Parameter.empty
        elif text := extra.get("default_text"):
            details["show_default"] = text
        elif default in (None, (), False, PydanticUndefined):
            details["show_default"] = False
        else:
            empty, details["callback"] = default, _if_given
        option = typer.Option(flag, help=field.description, **details)
        yield _parameter(name, empty, Annotated[kind, option])
        if old := extra.get("old_flag"):
            hidden = typer.Option(old, hidden=True)
            yield _parameter(_OLD + name, [] if _is_list(field) else None, Annotated[kind, hidden])


def configured(config: type[Config], given: Mapping[str, Any], **defaults: Any) -> Config:
    """Make a configuration from the options of a command; other options are ignored.

    Raises:
        CimsimError: if a value is invalid.
    """
    values: dict[str, Any] = dict(defaults)
    for name in config.model_fields:
        value = given.get(name)
        if value in (None, []):
            value = given.get(_OLD + name)
        if value not in (None, []):
            values[name] = tuple(value) if isinstance(value, list) else value
    try:
        return config(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = "-".join(map(str, first["loc"])).replace("_", "-")
        message = first["msg"].removeprefix("Value error, ")
        raise CimsimError(f"--{name}: {message}, got {first['input']!r}") from None


def _parameter(name: str, default: Any, annotation: Any) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)


def _extra(field: FieldInfo) -> dict[str, Any]:
    extra = field.json_schema_extra
    return dict(extra) if isinstance(extra, dict) else {}


def _if_given(context: typer.Context, parameter: typer.CallbackParam, value: Any) -> Any:
    """Return None for a default, which is in the help only: the configuration sets it."""
    source = context.get_parameter_source(parameter.name or "")
    return None if source is not None and source.name == "DEFAULT" else value


def _limits(field: FieldInfo) -> dict[str, float]:
    """The limits that typer checks too; only of options that are declared with them."""
    if not _extra(field) or _extra(field).get("text"):
        return {}
    limits = [part.ge for part in field.metadata if hasattr(part, "ge")]
    return {"min": limits[0]} if limits else {}


def _is_list(field: FieldInfo) -> bool:
    annotation: Any = field.annotation
    kinds = get_args(annotation) if get_origin(annotation) is UnionType else (annotation,)
    return all(get_origin(kind) is tuple or kind is type(None) for kind in kinds)


def _plain(field: FieldInfo) -> type:
    """The type that a user writes: ``float`` for ``float | None``; text for a choice of words, or
    for a number or a word, which the configuration checks."""
    annotation: Any = str if _extra(field).get("text") else field.annotation
    if get_origin(annotation) is UnionType:
        annotation = next(kind for kind in get_args(annotation) if kind is not type(None))
    if get_origin(annotation) is Literal:
        return str
    if annotation not in (str, int, float, bool, Path):
        raise TypeError(f"no command-line option for a field of type {annotation}")
    kind: type = annotation
    return kind


def finite(value: float) -> float:
    """Return the value of an option; infinity and NaN, which typer reads as numbers, are refused.

    Raises:
        BadParameter: if the value is one of these.
    """
    if not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number")
    return value


def check_table(path: Path) -> None:
    """Refuse a name that no table can be written to, before anything is computed for it.

    Raises:
        CimsimError: if it does not end in .csv, or cannot be written.
    """
    if path.suffix.lower() != ".csv":
        raise CimsimError(f"{path}: the table is written as CSV; choose a name ending in .csv")
    if not path.parent.is_dir():
        raise CimsimError(f"{path}: there is no folder {path.parent} to write it to")
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise CimsimError(f"{path}: cannot be written; choose another --out")
