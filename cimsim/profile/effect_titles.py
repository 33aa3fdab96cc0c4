"""Non-idealities in words, for tables, figures and reports."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import cache
from types import UnionType
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from cimsim.profile.base import Section
from cimsim.profile.effect import Effect
from cimsim.profile.model import Profile

_CONVERTERS = ("dac", "adc")


class EffectTitle(NamedTuple):
    """A non-ideality in words: its title, and what it is in one line."""

    title: str
    meaning: str


_SETTINGS = {
    "cell.levels": EffectTitle(
        "discrete levels", "Conductances are rounded to evenly spaced states."
    ),
    "dac.bits": EffectTitle("DAC resolution", "Inputs are rounded to the codes of the DAC."),
    "adc.bits": EffectTitle("ADC resolution", "Outputs are rounded to the codes of the ADC."),
    "adc.noise_of_range": EffectTitle("ADC noise", "Noise of the readout before the conversion."),
}


def effect_title(name: str) -> str:
    """Return a name of :func:`~cimsim.profile.non_idealities` in words; unknown names unchanged.

    >>> effect_title("cell.programming_noise.state-dependent"), effect_title("adc.bits")
    ('programming noise', 'ADC resolution')
    >>> effect_title("cell.drift.1")
    'drift 2'
    """
    known = effect_titles().get(name)
    if known is not None:
        return known.title
    path, _, index = name.rpartition(".")
    part, _, field = path.partition(".")
    if not (index.isdecimal() and any(key.startswith(f"{path}.") for key in effect_titles())):
        return name
    prefix = f"{part.upper()} " if part in _CONVERTERS else ""
    return f"{prefix}{field.replace('_', ' ')} {int(index) + 1}"


@cache
def effect_titles() -> dict[str, EffectTitle]:
    """The titles of all non-idealities that a profile can have, by their names."""
    titles = dict(_SETTINGS)
    for part, field in Profile.model_fields.items():
        for section in _classes(field.annotation):
            if issubclass(section, Effect):
                titles[part] = EffectTitle(section.title, _meaning(field))
            elif issubclass(section, Section):
                titles.update(_titles_in(part, section))
    return titles


def _titles_in(part: str, section: type[Section]) -> Iterator[tuple[str, EffectTitle]]:
    prefix = f"{part.upper()} " if part in _CONVERTERS else ""
    for name, field in section.model_fields.items():
        for effect in _classes(field.annotation):
            if not issubclass(effect, Effect):
                continue
            title = f"{prefix}{effect.title}"
            if get_origin(field.annotation) is tuple:
                meaning = (inspect.getdoc(effect) or "").partition("\n")[0]
                yield (
                    f"{part}.{name}.{effect.model_fields['kind'].default}",
                    EffectTitle(title, meaning),
                )
            else:
                yield f"{part}.{name}", EffectTitle(title, _meaning(field))


def _meaning(field: FieldInfo) -> str:
    """What a field that holds one effect, of any kind, is."""
    text = (field.description or "").partition(";")[0]
    return f"{text[:1].upper()}{text[1:]}."


def _classes(annotation: Any) -> Iterator[type]:
    """The classes in a type: in unions, tuples and annotations of any depth."""
    if isinstance(annotation, type) and get_origin(annotation) is None:
        yield annotation
    elif get_origin(annotation) is Annotated:
        yield from _classes(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, UnionType, tuple):
        for inner in get_args(annotation):
            yield from _classes(inner)
