"""Loading of profiles, with all errors reported at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from cimsim.errors import CimsimError
from cimsim.profile.extends import read_tree
from cimsim.profile.issues import Issue, ProfileError
from cimsim.profile.library import find_profile
from cimsim.profile.messages import explain
from cimsim.profile.model import Profile
from cimsim.profile.overrides import override_profile
from cimsim.profile.paths import dotted, without_tags
from cimsim.profile.yaml_tree import Node, Place

_MOST_EXPLAINED = 200  # per file; explaining 100,000 issues takes minutes


def load_profile(
    name_or_path: str | Path, overrides: Mapping[str, object] | Sequence[str] = ()
) -> Profile:
    """Load the profile of a name or file and override some of its values.

    Args:
        name_or_path: a name from :func:`profile_names`, or a file ending in ``.yaml``.
        overrides: ``["adc.bits=4"]`` or ``{"adc.bits": 4}``; see :func:`override_profile`.

    Raises:
        CimsimError: if there is no profile of that name, or ``name_or_path`` is already a profile.
        ProfileError: if the file or an override is wrong; it lists every issue with its place.

    >>> load_profile("pcm-ibm-2020", ["adc.bits=4"]).adc.bits
    4
    """
    if isinstance(name_or_path, Profile):
        raise CimsimError(
            "load_profile expects a name or a file; change the settings of a Profile with "
            "cimsim.profile.override_profile"
        )
    profile, issues = _read(find_profile(name_or_path))
    if profile is None:
        raise ProfileError(issues)
    return override_profile(profile, overrides)


def validate_file(path: str | Path) -> list[Issue]:
    """Return all issues of a file, sorted by position; empty for a valid profile."""
    return sorted(_read(Path(path))[1], key=Issue.position)


def _read(path: Path) -> tuple[Profile | None, list[Issue]]:
    tree, issues = read_tree(path)
    if tree is None:
        return None, issues
    data = tree.plain()
    if not any(key in Profile.model_fields for key in data):
        message = "not a profile; a profile begins with 'schema_version: 1'"
        return None, [*issues, tree.place.issue(message)]
    try:
        profile = Profile.model_validate(data)
    except ValidationError as failure:
        details = failure.errors(include_url=False)
        explained = [_issue(detail, tree, data) for detail in details[:_MOST_EXPLAINED]]
        if len(details) > _MOST_EXPLAINED:
            message = f"{len(details) - _MOST_EXPLAINED} more issues; fix the others first"
            explained.append(tree.place.issue(message))
        return None, issues + explained
    return (None if issues else profile), issues


def _issue(detail: ErrorDetails, tree: Node, data: Any) -> Issue:
    loc = without_tags(detail["loc"], data)
    if detail["type"] == "union_tag_invalid":
        loc = (*loc, "kind")
    section = loc[:-1] if detail["type"] in ("unknown_key", "missing_key") else loc
    place = _place_of(loc, tree, detail["type"] == "unknown_key")
    return place.issue(explain(detail), dotted(section))


def _place_of(loc: tuple[int | str, ...], tree: Node, of_the_key: bool) -> Place:
    """Return the place of the value at ``loc``, or of its innermost section that exists."""
    node = tree
    for part in loc:
        inner = node.value
        if isinstance(inner, dict) and part in inner:
            node = inner[str(part)]
        elif isinstance(inner, list) and isinstance(part, int) and part < len(inner):
            node = inner[part]
    whole = isinstance(node.value, dict) or node.value is None
    return node.key_place if of_the_key or whole else node.place
