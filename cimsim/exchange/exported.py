"""A configuration of another library made of a profile, as plain values, Python or an object."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cimsim.errors import CimsimError
from cimsim.exchange.notes import Note
from cimsim.exchange.source import CLASS


@dataclass(frozen=True)
class Exported:
    """A configuration of another library that describes a profile.

    Attributes:
        library: ``aihwkit`` or ``CrossSim``.
        values: the configuration as nested plain values with the class of each object in ``class``;
            values at the library's default are left out.
        notes: values of the profile that the configuration cannot represent.
        places: module of each class and enumeration.
        enumerations: enumeration of each field that has one.
    """

    library: str
    values: Mapping[str, Any]
    notes: tuple[Note, ...]
    places: Mapping[str, str]
    enumerations: Mapping[str, str]

    def json(self) -> str:
        """Return the configuration as JSON."""
        return json.dumps(self.values, indent=2) + "\n"

    def python(self, comment: str = "") -> str:
        """Return a Python file whose function ``make()`` returns the configuration."""
        used: set[str] = set()
        body = self._code(self.values, 1, used)
        modules: dict[str, list[str]] = {}
        for name in sorted(used):
            modules.setdefault(self.places[name], []).append(name)
        imports = [f"from {m} import {', '.join(names)}" for m, names in sorted(modules.items())]
        notes = ["# Without an exact counterpart:", *(f"# - {note}" for note in self.notes)]
        return "\n".join(
            [
                f'"""{comment or "A configuration of " + self.library}."""',
                "",
                *imports,
                "",
                *(notes if self.notes else ()),
                "",
                "def make():",
                f'    """Return the configuration of {self.library}."""',
                f"    return {body}",
                "",
            ]
        )

    def build(self) -> Any:
        """Return the configuration as an object of the library, which must be installed.

        Raises:
            CimsimError: if the library cannot be imported.
        """
        try:
            return self._object(self.values)
        except ImportError as error:
            raise CimsimError(
                f"{self.library} is not installed here ({error}); write the configuration with "
                ".python() or .json() instead"
            ) from None

    def _code(self, value: Any, depth: int, used: set[str], name: str = "") -> str:
        if isinstance(value, Mapping) and CLASS in value:
            used.add(value[CLASS])
            inner = "    " * (depth + 1)
            arguments = [
                f"{inner}{key}={self._code(part, depth + 1, used, key)},"
                for key, part in value.items()
                if key != CLASS
            ]
            if not arguments:
                return f"{value[CLASS]}()"
            return "\n".join([f"{value[CLASS]}(", *arguments, "    " * depth + ")"])
        if name in self.enumerations and value is not None:
            used.add(self.enumerations[name])
            return f"{self.enumerations[name]}.{value}"
        return repr(value)

    def _object(self, value: Any, name: str = "") -> Any:
        if isinstance(value, Mapping) and CLASS in value:
            made = {k: self._object(part, k) for k, part in value.items() if k != CLASS}
            return self._class(value[CLASS])(**made)
        if name in self.enumerations and value is not None:
            return self._class(self.enumerations[name])[value]
        return value

    def _class(self, name: str) -> Any:
        return getattr(importlib.import_module(self.places[name]), name)
