"""Export of profiles as YAML and of their format as a JSON schema."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from cimsim.profile.model import Profile
from cimsim.profile.yaml_scalars import parse_scalar

# Order within a section of a file: numbers, knobs, source.
_LAST = ("strength", "spread_strength", "source")


def dump_profile(profile: Profile) -> str:
    """Return the profile as YAML text with all values; loading it gives an equal profile."""
    data = _in_order(profile.model_dump(mode="json"))
    return str(yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100))


def profile_schema() -> dict[str, Any]:
    """Return the JSON schema of profile files, for completion and validation in editors.

    Files with ``extends`` may omit any key, so mergeable sections have no required keys.
    """
    schema = Profile.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["properties"]["extends"] = {
        "type": "string",
        "description": "name or file of the profile that this one extends",
    }
    fault_map = schema["$defs"]["FaultMap"]
    fault_map["properties"]["file"] = {
        "type": "string",
        "description": "CSV file with the cells: row, column, device, g_uS",
    }
    fault_map["required"].remove("cells")
    schema["anyOf"] = [{"required": ["extends"]}, {"required": schema.pop("required")}]
    members = set(_union_members(schema))
    for name, definition in schema["$defs"].items():
        if name in members:
            definition["required"] = ["kind", *definition.get("required", [])]
        elif "source" in definition["properties"]:
            definition.pop("required", None)
    return schema


def _union_members(schema: Any) -> Iterator[str]:
    """Yield the names of the definitions that are selected by ``kind``."""
    if isinstance(schema, dict):
        mapping = schema.get("discriminator", {}).get("mapping", {})
        yield from (reference.rpartition("/")[2] for reference in mapping.values())
    if isinstance(schema, (dict, list)):
        for inner in schema.values() if isinstance(schema, dict) else schema:
            yield from _union_members(inner)


def _in_order(data: Any) -> Any:
    if isinstance(data, list):
        return [_in_order(item) for item in data]
    if isinstance(data, dict):
        keys = sorted(data, key=lambda key: _LAST.index(key) if key in _LAST else -1)
        return {key: _in_order(data[key]) for key in keys}
    return data


class _Dumper(yaml.SafeDumper):
    """Quotes strings that the profile reader would parse as another type."""

    def represent_text(self, text: str) -> yaml.Node:
        style = None if parse_scalar(text) == text else "'"
        return self.represent_scalar("tag:yaml.org,2002:str", text, style)

    def represent_items(self, items: list[Any]) -> yaml.Node:
        one_line = not any(isinstance(item, (dict, list)) for item in items)
        return self.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=one_line)

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_representer(str, _Dumper.represent_text)
_Dumper.add_representer(list, _Dumper.represent_items)
