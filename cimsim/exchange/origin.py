"""Configurations by the text that a user types: a file, a preset, or an object in a module."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from cimsim.errors import CimsimError
from cimsim.exchange.aihwkit_reader import from_aihwkit
from cimsim.exchange.crosssim_reader import from_crosssim
from cimsim.exchange.notes import Imported
from cimsim.exchange.source import plain
from cimsim.named import FAULTS, described, object_named
from cimsim.reading import parse_json, read_text
from cimsim.suggest import unknown

_FORMS = (
    "name a JSON file, aihwkit:PRESET, crosssim:CONFIGURATION, or package.module:object (a "
    "configuration, its class, or a function that returns it)"
)
_PRESETS = ("aihwkit.simulator.presets", "aihwkit.simulator.configs")
_DISTRIBUTIONS = {"aihwkit": "aihwkit", "crosssim": "CrossSim"}


def import_profile(origin: str, name: str | None = None) -> Imported:
    """Return the profile of a configuration of aihwkit or CrossSim.

    A JSON file is read without either library and runs no code; all other forms import the library,
    or the module that is named.

    Args:
        origin: a file ending in ``.json``; ``aihwkit:StandardHWATrainingPreset`` or another
            configuration of aihwkit by its class; ``crosssim:ISAAC`` or another of CrossSim's own
            files; or ``package.module:object``.
        name: name of the profile; by default made of ``origin``.

    Raises:
        CimsimError: if there is nothing of that name, or it is not a configuration of a chip.
    """
    place, colon, inner = origin.partition(":")
    if origin.lower().endswith(".json") or Path(origin).is_file():
        config = _from_file(Path(origin))
        default = Path(origin).stem
    elif not colon or not place or not inner:
        raise CimsimError(f"'{origin}' is not a configuration: {_FORMS}")
    elif place == "aihwkit":
        config, default = _preset(inner), inner
    elif place == "crosssim":
        config, default = _crosssim_file(inner), inner
    else:
        config, default = _object(origin), inner
    return _read(config, name or _as_name(default), origin)


def library_of(values: object) -> str | None:
    """Return the library whose configuration these plain values are; None for neither."""
    if not isinstance(values, Mapping):
        return None
    if {"core", "xbar"} <= set(values):
        return "crosssim"
    return "aihwkit" if {"forward", "noise_model"} <= set(values) else None


def _read(config: object, name: str, origin: str) -> Imported:
    values = plain(config)
    library = library_of(values)
    if library is None:
        raise CimsimError(
            f"{origin}: neither an inference configuration of aihwkit, which has 'forward' and "
            "'noise_model', nor parameters of CrossSim, which have 'core' and 'xbar'"
        )
    reader = from_aihwkit if library == "aihwkit" else from_crosssim
    return reader(values, name, "" if isinstance(config, Mapping) else _version(library))


def _version(library: str) -> str:
    try:
        return metadata.version(_DISTRIBUTIONS[library])
    except metadata.PackageNotFoundError:
        return ""


def _as_name(text: str) -> str:
    kept = "".join(c if c.isalnum() and c.isascii() else "-" for c in text).strip("-")
    return kept or "imported"


def _from_file(path: Path) -> Any:
    try:
        return parse_json(read_text(path))
    except ValueError as error:
        raise CimsimError(f"{path}: not JSON ({error})") from None


def _library(name: str, needed_for: str) -> Any:
    try:
        return importlib.import_module(name)
    except FAULTS as error:
        raise CimsimError(
            f"{needed_for}: cannot import {name} ({type(error).__name__}: {error})"
        ) from error


def _preset(name: str) -> Any:
    known: dict[str, Any] = {}
    for module in _PRESETS:
        known |= vars(_library(module, f"aihwkit:{name}"))
    configs = {key: value for key, value in known.items() if hasattr(value, "tile_class")}
    if name not in configs:
        raise CimsimError(unknown("configuration of aihwkit", name, configs))
    return configs[name]()


def _crosssim_file(name: str) -> Any:
    parameters = _library("simulator", f"crosssim:{name}").CrossSimParameters
    try:
        return parameters.from_json(name)
    except FileNotFoundError:
        raise CimsimError(f"CrossSim has no configuration '{name}'") from None


def _object(name: str) -> Any:
    config = object_named(name, "configuration")
    if not callable(config):
        return config
    try:
        return config()  # a class or a function makes the configuration
    except FAULTS as error:  # of the user's function: anything
        raise CimsimError(f"configuration '{name}' failed: {described(error)}") from error
