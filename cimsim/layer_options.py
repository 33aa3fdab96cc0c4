"""Parsing of the settings of some layers, ``PATTERN:SETTING,SETTING,…``.

A setting is ``digital``; ``key=value`` with an argument of :func:`cimsim.convert` (``profile``,
``rule``, ``quantize_weights``, ``quantize_inputs``, ``denoise``); or ``dotted.key=value``, which
overrides a value of the layer's profile, as ``--set`` does for the whole run. The pattern matches
names of layers, or is ``first`` or ``last``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from cimsim.errors import CimsimError
from cimsim.suggest import unknown

Layers: TypeAlias = dict[str, dict[str, Any]]
"""Settings by pattern, as accepted by :func:`cimsim.convert`."""

EXAMPLE = "'blocks.0.*:adc.bits=8,rule=output-ste' or 'fc2:digital'"
_QUANTIZERS = ("quantize_weights", "quantize_inputs")
WORDS = ("digital", "profile", "rule", *_QUANTIZERS, "denoise")
_KEYS = ("temperature_C", "cell", "array", "dac", "adc", "wires")  # of a profile, without a dot


def parse_layers(texts: Iterable[str]) -> Layers:
    """Parse all ``texts``.

    Raises:
        CimsimError: if a text has an invalid form, or a pattern occurs twice.

    >>> parse_layers(["conv*:adc.bits=6,rule=C", "fc2:digital"])
    {'conv*': {'adc.bits': 6, 'rule': 'C'}, 'fc2': {'digital': True}}
    """
    layers: Layers = {}
    for text in texts:
        pattern, colon, rest = text.partition(":")
        pattern = pattern.strip()
        if not (pattern and colon and rest.strip()):
            raise CimsimError(f"'{text}' must have the form PATTERN:SETTINGS, such as {EXAMPLE}")
        if pattern in layers:
            raise CimsimError(f"'{pattern}' is given twice; combine its settings")
        layers[pattern] = _settings(text, rest)
    return layers


def format_layer(pattern: str, settings: Mapping[str, Any]) -> str:
    """Return the text that :func:`parse_layers` parses to these settings.

    The pattern of a model that is itself a layer, and has no name, is ``*``.

    >>> format_layer("conv*", {"adc.bits": 6, "rule": "C"})
    'conv*:adc.bits=6,rule=C'
    >>> format_layer("", {"adc.bits": 6})
    '*:adc.bits=6'
    >>> format_layer("fc", {"digital": True}), format_layer("fc", {"adc.bits": None})
    ('fc:digital', 'fc:adc.bits=null')
    """
    words = (key if key == "digital" else f"{key}={_typed(v)}" for key, v in settings.items())
    return f"{pattern or '*'}:{','.join(words)}"


def _typed(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)  # JSON is also valid YAML


def with_profiles(layers: Layers) -> Layers:
    """Replace names and files of profiles in ``layers`` by loaded profiles.

    Raises:
        CimsimError: if a profile cannot be loaded.
    """
    from cimsim.profile import load_profile

    loaded: Layers = {}
    for pattern, settings in layers.items():
        loaded[pattern] = dict(settings)
        if "profile" in settings:
            loaded[pattern]["profile"] = load_profile(settings["profile"])
    return loaded


def _settings(text: str, rest: str) -> dict[str, Any]:
    written: dict[str, str] = {}
    last = ""
    for piece in _pieces(rest):
        key, equals, value = (part.strip() for part in piece.partition("="))
        if key == "digital":
            if equals:
                raise CimsimError(f"'{text}': 'digital' takes no value; remove '{equals}{value}'")
            equals, value = "=", "true"
        elif last in _QUANTIZERS and "." not in key and key not in (*WORDS, *_KEYS):
            written[last] += f",{piece.strip()}"  # a setting of that quantizer
            continue
        elif "." not in key and key not in (*WORDS, *_KEYS):
            reason = unknown("setting of a layer", key, WORDS)
            raise CimsimError(
                f"'{text}': {reason} (keys of the profile contain a dot, as in adc.bits)"
            )
        elif not (equals and value):
            raise CimsimError(f"'{text}': '{key}' needs a value, '{key}=VALUE'")
        if key in written:
            raise CimsimError(f"'{text}': {key} is given twice")
        written[key], last = value, key
    return {key: _value(text, key, value) for key, value in written.items()}


def _pieces(rest: str) -> list[str]:
    """Split ``rest`` at commas outside brackets."""
    pieces, depth = [""], 0
    for character in rest:
        depth += (character in "[{") - (character in "]}")
        if character == "," and not depth:
            pieces.append("")
        else:
            pieces[-1] += character
    return pieces


def _value(text: str, key: str, value: str) -> Any:
    # Imported here because the command-line help uses this module without profiles.
    from cimsim.profile.yaml_scalars import parse_scalar
    from cimsim.profile.yaml_tree import parse

    if key == "digital":
        return True
    if key == "denoise":
        ridge = parse_scalar(value)
        if isinstance(ridge, bool) or not isinstance(ridge, int | float):
            raise CimsimError(f"'{text}': denoise must be a number, not '{value}'")
        return ridge
    if key in WORDS:
        return value
    tree, issues = parse(value, "")
    if tree is None or issues:
        raise CimsimError(f"'{text}': {key}: " + "; ".join(issue.message for issue in issues))
    return tree.plain()
