"""Signatures and docstrings of functions that are made from configurations, and their errors."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from cimsim.analysis.keywords import FIRST, Keywords
from cimsim.analysis.study import Options
from cimsim.analysis.sweeps.axis import axis_text
from cimsim.errors import CimsimError

Made = TypeVar("Made", bound=BaseModel)
Groups = Sequence[type[BaseModel]]

_ONE = "nn.Module | Subject"
TYPES = {
    "model": f"{_ONE} | Sequence[{_ONE}] | Mapping[str, {_ONE}]",
    "score": "ScoreFunction | Iterable[Any] | None",
    "over": "str | Mapping[str, Iterable[Any]] | Axis",
    "layers": "Layers | None",
    "profile": "Profile | Assignment | Path | str | None",
    "device": "torch.device | str",
    "progress": "Progress | None",
    "calibration": "Iterable[Any]",
    "inputs": "Any",
    "store": "Path | str | None",
}
"""Types of arguments whose fields accept anything."""
_AXIS = "str | Mapping[str, Iterable[Any]]"
_FLAG = re.compile(r"--([a-z]+(?:-[a-z]+)*)( (?=\d|[A-Z]{2,}))?")


def signature_of(groups: Groups, defaults: Mapping[str, Any], returned: str) -> inspect.Signature:
    """The signature of a function of models and scores, with the fields of ``groups`` as keywords.

    Args:
        groups: configurations; of fields with the same name, the first counts.
        defaults: defaults that differ from the configurations'.
        returned: type of the result.
    """
    first = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [
        inspect.Parameter("model", first, annotation=TYPES["model"]),
        inspect.Parameter("score", first, annotation=TYPES["score"], default=None),
    ]
    for name, field in fields_of(groups).items():
        default = inspect.Parameter.empty if field.is_required() else field.default
        parameters.append(
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                annotation=_type(name, field),
                default=defaults.get(name, default),
            )
        )
    return inspect.Signature(parameters, return_annotation=returned)


def fields_of(groups: Groups) -> dict[str, FieldInfo]:
    """The fields of configurations; of those with the same name, the first."""
    fields: dict[str, FieldInfo] = {}
    for group in groups:
        for name, field in group.model_fields.items():
            fields.setdefault(name, field)
    return fields


def is_axis(field: FieldInfo) -> bool:
    """Whether the texts of a field are axes, see :func:`cimsim.analysis.study.option`."""
    extra = field.json_schema_extra
    return isinstance(extra, dict) and bool(extra.get("axis"))


def _type(name: str, field: FieldInfo) -> str:
    if is_axis(field):
        several = f" | Sequence[{_AXIS}]" if get_origin(field.annotation) is tuple else ""
        return f"{_AXIS}{several}"
    return TYPES[name] if field.annotation is Any else _text(field.annotation)


def _text(kind: Any) -> str:
    """The source text of a type."""
    if get_origin(kind) is UnionType:
        return " | ".join(map(_text, get_args(kind)))
    if get_origin(kind) is tuple:
        inner = _text(get_args(kind)[0])
        return f"{inner} | Sequence[{inner}]"
    return "None" if kind is type(None) else str(kind.__name__)


def bound_to(
    signature: inspect.Signature, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """The arguments of a call by name.

    Raises:
        TypeError: if they do not fit the signature of the function ``name``.
    """
    try:
        return signature.bind(*args, **kwargs).arguments
    except TypeError as error:
        raise TypeError(f"{name}() {error}") from None


def made(kind: type[Made], given: Mapping[str, Any]) -> Made:
    """Make a configuration from those of the arguments that are its fields.

    Raises:
        CimsimError: if a value is invalid.
    """
    values = {name: given[name] for name in kind.model_fields if name in given}
    for name, value in values.items():
        field = kind.model_fields[name]
        several = get_origin(field.annotation) is tuple
        if is_axis(field):
            values[name] = axis_texts(value) if several else axis_text(value)
        elif several and isinstance(value, str):
            values[name] = (value,)
    try:
        return kind(**values)
    except ValidationError as error:
        first = error.errors()[0]
        raise CimsimError(
            f"{first['loc'][0]}: {first['msg'].lower()}, not {first['input']!r}"
        ) from None


def axis_texts(over: Any) -> tuple[str, ...]:
    """Return axes as texts: of one text, of ``{name: levels, ...}``, or of several of them.

    Raises:
        CimsimError: if one of them is not an axis.

    >>> axis_texts({"adc.bits": [6, 8], "array.rows": [128, 256]})
    ('adc.bits=6,8', 'array.rows=128,256')
    """
    if isinstance(over, Mapping):
        return tuple(axis_text({name: levels}) for name, levels in over.items())
    if isinstance(over, str) or not isinstance(over, Iterable):
        return (axis_text(over),)
    return tuple(text for one in over for text in axis_texts(one))


def dressed(
    function: Callable[..., Any],
    name: str,
    signature: inspect.Signature,
    about: str,
    groups: Groups,
) -> Callable[..., Any]:
    """Give ``function`` its name, signature and docstring."""
    arguments = {**FIRST, **{n: _help(f) for n, f in fields_of(groups).items()}}
    lines = [about, "", "Args:"]
    for argument, text in arguments.items():
        text = python_words(text, groups[0]).replace("; can be repeated", ", or a list of them")
        entry = textwrap.fill(f"{argument}: {text}", 96, subsequent_indent="    ")
        lines.append(textwrap.indent(entry, "    "))
    error = "CimsimError: if an argument is invalid, or the score cannot be used."
    lines += ["", "Raises:", f"    {error}"]
    function.__name__ = function.__qualname__ = name
    function.__module__ = "cimsim.analysis.functions"
    function.__doc__ = "\n".join(lines) + "\n"
    function.__signature__ = signature  # type: ignore[attr-defined]
    function.__annotations__ = {
        **{p.name: p.annotation for p in signature.parameters.values()},
        "return": signature.return_annotation,
    }
    return function


def _help(field: FieldInfo) -> str:
    """The description of a field and of its default."""
    extra = field.json_schema_extra
    default = extra.get("default_text") if isinstance(extra, dict) else None
    return f"{field.description} By default: {default}." if default else str(field.description)


def described(options: type[Options]) -> str:
    """The help of a command in words of Python: of models, without its folders."""
    paragraphs = []
    for paragraph in (inspect.getdoc(options) or "").split("\n\n"):
        sentences = re.split(r"(?<=\.) ", " ".join(paragraph.split()))
        kept = [s for s in sentences if "RUN" not in s and "command" not in s]
        text = re.sub(r"\b(a|the|each) run\b", r"\1 model", " ".join(kept))
        paragraphs.append(textwrap.fill(python_words(text, options), 100))
    return "\n\n".join(filter(None, paragraphs))


def python_words(text: str, options: type[BaseModel]) -> str:
    """``text`` with names of arguments instead of flags of options.

    >>> python_words("give --above, such as --above 90", Keywords)
    'give above, such as above=90'
    """
    flags = {}
    for name, field in {**Keywords.model_fields, **options.model_fields}.items():
        extra = field.json_schema_extra
        flag = extra.get("flag") if isinstance(extra, dict) else None
        flags[str(flag or name).removeprefix("--")] = name

    def word(match: re.Match[str]) -> str:
        name = flags.get(match[1], match[1].replace("-", "_"))
        return f"{name}=" if match[2] else name

    return _FLAG.sub(word, text)


@contextmanager
def in_words_of_python(options: type[BaseModel]) -> Iterator[None]:
    """Within the block, errors name arguments instead of flags of options."""
    try:
        yield
    except CimsimError as error:
        text = python_words(str(error), options)
        if text == str(error) or type(error) is not CimsimError:
            raise
        raise CimsimError(text) from error.__cause__
