"""What becomes of a layer: its device and everything else that ``convert`` can set for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from cimsim.errors import CimsimError
from cimsim.estimators import DEFAULT_RULE, backward_rule
from cimsim.profile import Profile, ProfileError, load_profile, override_profile
from cimsim.quantizers import make_quantizer
from cimsim.suggest import shortened, unknown


@dataclass(frozen=True)
class LayerSettings:
    """What :func:`cimsim.convert` makes of one layer; its arguments of the same names.

    A ``digital`` layer is not converted.
    """

    profile: Profile
    rule: str = DEFAULT_RULE
    quantize_weights: str | None = None
    quantize_inputs: str | None = None
    denoise: float | None = None
    digital: bool = False

    def changed(self, changes: Mapping[str, Any]) -> LayerSettings:
        """With these settings instead: fields of this class, and keys of the profile such as
        ``adc.bits``, which change a few of its values.

        A layer that gets a device is no longer digital.

        Raises:
            CimsimError: if there is no such setting, profile, key, rule or quantizer, or something
                is set beside ``digital``.
        """
        if not isinstance(changes, Mapping):
            raise CimsimError(
                "settings of a layer are a dict such as {'rule': 'C'}, not "
                f"{shortened(repr(changes))}"
            )
        known = list(vars(self))
        of_profile = {key: value for key, value in changes.items() if _is_of_profile(key)}
        given = {key: value for key, value in changes.items() if key not in of_profile}
        for key in given:
            if key not in known:
                raise CimsimError(unknown("setting of a layer", key, known))
        if given.get("digital") and len(changes) > 1:
            others = ", ".join(key for key in changes if key != "digital")
            raise CimsimError(f"a digital layer has no device; leave out {others}")
        if "profile" in given:
            given = {"digital": False, **given}
            if not isinstance(given["profile"], Profile):
                given["profile"] = load_profile(given["profile"])
        settings = replace(self, **given)
        if of_profile:
            settings = replace(settings, profile=_overridden(settings.profile, of_profile))
        backward_rule(settings.rule)
        for spec in filter(None, (settings.quantize_weights, settings.quantize_inputs)):
            make_quantizer(spec)
        return settings


def changed_by_pattern(
    settings: dict[str, LayerSettings], layers: Mapping[str, Mapping[str, Any]]
) -> dict[str, LayerSettings]:
    """``settings`` of layers by name, with those of ``{pattern: changes}`` instead; later patterns
    come on top of earlier ones.

    Layers that shared their settings and are changed alike share the new ones.

    Raises:
        CimsimError: if a pattern matches no layer, or a change is refused.
    """
    names, settings = list(settings), dict(settings)
    for pattern, changes in layers.items():
        done: dict[int, tuple[LayerSettings, LayerSettings]] = {}
        for name in matching(pattern, names, "layers"):
            before = settings[name]
            if id(before) not in done:
                try:
                    done[id(before)] = before, before.changed(changes)
                except CimsimError as error:
                    raise CimsimError(f"layers '{pattern}': {error}") from None
            settings[name] = done[id(before)][1]
    return settings


def matching(pattern: str, names: Sequence[str], argument: str) -> list[str]:
    """The ``names`` that an ``fnmatch`` pattern, ``"first"`` or ``"last"`` means.

    Raises:
        CimsimError: if there is none, or the pattern is no text; it says in which ``argument`` the
            pattern stands.
    """
    if not isinstance(pattern, str):
        raise CimsimError(
            f"{argument}: a pattern is a text such as 'blocks.*', not a {type(pattern).__name__}"
        )
    if pattern == "first":
        return list(names[:1])
    if pattern == "last":
        return list(names[-1:])
    matched = [name for name in names if fnmatchcase(name, pattern)]
    if not matched:
        raise CimsimError(f"{argument}: {unknown('layer', pattern, names)}")
    return matched


def _is_of_profile(key: str) -> bool:
    return "." in key or key in Profile.model_fields


def _overridden(profile: Profile, changes: Mapping[str, Any]) -> Profile:
    try:
        return override_profile(profile, changes)
    except ProfileError as error:
        raise CimsimError("; ".join(_told(error))) from None


def _told(error: ProfileError) -> Iterator[str]:
    """The issues, each with the key and value that it is about."""
    return (f"{issue.file.removeprefix('--set ')}: {issue.message}" for issue in error.issues)
