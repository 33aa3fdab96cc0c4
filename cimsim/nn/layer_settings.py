"""Settings of a layer: its profile and all other arguments of ``convert`` that can differ."""

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
    """Arguments of :func:`cimsim.convert` for one layer; a ``digital`` layer is not converted."""

    profile: Profile
    rule: str = DEFAULT_RULE
    quantize_weights: str | None = None
    quantize_inputs: str | None = None
    denoise: float | None = None
    digital: bool = False

    def changed(self, changes: Mapping[str, Any]) -> LayerSettings:
        """A copy with other settings: fields of this class, and keys of the profile such as
        ``adc.bits``.

        A layer with a new profile is no longer digital.

        Raises:
            CimsimError: if there is no such setting, profile, key, rule or quantizer, or another
                setting together with ``digital``.
        """
        if not isinstance(changes, Mapping):
            raise CimsimError(
                "settings of a layer must be a dict such as {'rule': 'output-ste'}, not "
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
            raise CimsimError(f"a digital layer has no other settings; leave out {others}")
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
    settings: dict[str, LayerSettings],
    layers: Mapping[str, Mapping[str, Any]],
    digital: Sequence[str] = (),
) -> dict[str, LayerSettings]:
    """``settings`` of layers by name, changed by ``{pattern: changes}``; later patterns override
    earlier ones.

    Layers that shared their settings before and have the same changes share the new ones. The
    layers called ``digital`` have no settings, because they are kept digital.

    Raises:
        CimsimError: if a pattern matches no layer, or only digital ones, or a change is invalid.
    """
    names, settings = list(settings), dict(settings)
    for pattern, changes in layers.items():
        done: dict[int, tuple[LayerSettings, LayerSettings]] = {}
        for name in matching(pattern, names, "layers", digital):
            before = settings[name]
            if id(before) not in done:
                try:
                    done[id(before)] = before, before.changed(changes)
                except CimsimError as error:
                    raise CimsimError(f"layers '{pattern}': {error}") from None
            settings[name] = done[id(before)][1]
    return settings


def matching(
    pattern: str, names: Sequence[str], argument: str, digital: Sequence[str] = ()
) -> list[str]:
    """The ``names`` that match an ``fnmatch`` pattern, ``"first"`` or ``"last"``.

    Raises:
        CimsimError: if there is none, or the pattern is not text; the message names the
            ``argument`` with the pattern, and what is wrong if it matches a layer in ``digital``.
    """
    if not isinstance(pattern, str):
        raise CimsimError(
            f"{argument}: a pattern must be text such as 'blocks.*', not a {type(pattern).__name__}"
        )
    if pattern == "first":
        return list(names[:1])
    if pattern == "last":
        return list(names[-1:])
    matched = [name for name in names if fnmatchcase(name, pattern)]
    if not matched and any(fnmatchcase(name, pattern) for name in digital):
        raise CimsimError(
            f"{argument}: '{pattern}' matches only layers that are kept digital; leave it out, or "
            "do not keep them digital"
        )
    if not matched:
        raise CimsimError(f"{argument}: {unknown('layer', pattern, names)}")
    return matched


def _is_of_profile(key: str) -> bool:
    return "." in key or key in Profile.model_fields


def _overridden(profile: Profile, changes: Mapping[str, Any]) -> Profile:
    try:
        return override_profile(profile, changes)
    except ProfileError as error:
        raise CimsimError("; ".join(_described(error))) from None


def _described(error: ProfileError) -> Iterator[str]:
    """The issues, each with its key and value."""
    return (f"{issue.file}: {issue.message}" for issue in error.issues)
