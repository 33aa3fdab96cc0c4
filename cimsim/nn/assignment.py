"""The profile of each layer of a model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cimsim.errors import CimsimError
from cimsim.nn.layer_settings import LayerSettings, changed_by_pattern
from cimsim.profile import Profile, fingerprint
from cimsim.suggest import unknown

_SETTINGS = ("profile", "digital")  # settings of a layer that an assignment contains


@dataclass(frozen=True)
class Assignment:
    """One profile for all analog layers of a model, except for those that are named.

    Attributes:
        profile: the profile of every layer that is not named.
        layers: names and profiles of layers; None for a layer that computes digitally.

    >>> from cimsim.profile import load_profile
    >>> pcm = load_profile("pcm-ibm-2020")
    >>> Assignment(pcm, (("fc1", None),)).name
    'pcm-ibm-2020 + digital'
    """

    profile: Profile
    layers: tuple[tuple[str, Profile | None], ...] = ()

    @classmethod
    def of(cls, profiles: Mapping[str, Profile | None]) -> Assignment:
        """An assignment from the profiles of all layers by name; the most frequent is the common
        one.

        Raises:
            CimsimError: if every layer is digital.
        """
        analog = [profile for profile in profiles.values() if profile is not None]
        if not analog:
            raise CimsimError("every layer is digital, so there is no profile")
        common = max(analog, key=analog.count)
        return cls(common, tuple((n, p) for n, p in profiles.items() if p != common))

    def __hash__(self) -> int:
        return hash(self.facts())

    def facts(self) -> tuple[str, tuple[tuple[str, str | None], ...]]:
        """Fingerprints of everything that the profiles compute, without their costs."""
        return fingerprint(self.profile), tuple(
            (name, None if profile is None else fingerprint(profile))
            for name, profile in self.layers
        )

    @property
    def name(self) -> str:
        """The names of its profiles."""
        names = [self.profile.name, *(d.name if d else "digital" for _, d in self.layers)]
        return " + ".join(dict.fromkeys(names))

    @property
    def profiles(self) -> list[Profile]:
        """Its profiles, each once."""
        different = [self.profile]
        for _, profile in self.layers:
            if profile is not None and profile not in different:
                different.append(profile)
        return different

    @property
    def has_noise(self) -> bool:
        """Whether chips differ from each other, or reads of a chip."""
        return any(profile.has_noise for profile in self.profiles)

    def on(self, layer: str) -> Profile | None:
        """The profile of the layer of that name; None if it computes digitally."""
        return dict(self.layers).get(layer, self.profile)

    def map(self, change: Callable[[Profile], Profile]) -> Assignment:
        """A copy with every profile changed.

        Raises:
            CimsimError: as ``change``, with the name of the layer.
        """
        done: dict[int, Profile] = {id(self.profile): change(self.profile)}
        layers: list[tuple[str, Profile | None]] = []
        for name, profile in self.layers:
            if profile is not None and id(profile) not in done:
                try:
                    done[id(profile)] = change(profile)
                except CimsimError as error:
                    raise CimsimError(f"layer '{name}' on {profile.name}: {error}") from None
            layers.append((name, None if profile is None else done[id(profile)]))
        return Assignment(done[id(self.profile)], tuple(layers))

    def among(self, layers: Iterable[str]) -> Assignment:
        """A copy for a model in which only ``layers`` are analog."""
        names = set(layers)
        return Assignment(self.profile, tuple(pair for pair in self.layers if pair[0] in names))

    def digital(self, layers: Iterable[str]) -> Assignment:
        """A copy in which ``layers`` compute digitally."""
        return Assignment(
            self.profile, tuple({**dict(self.layers), **dict.fromkeys(layers)}.items())
        )

    def changed(
        self,
        names: Sequence[str],
        layers: Mapping[str, Mapping[str, Any]],
        digital: Sequence[str] = (),
    ) -> Assignment:
        """A copy with other profiles for some of the layers called ``names``, by patterns as in
        :func:`cimsim.convert`; settings are ``profile``, its keys, and ``digital``. The layers
        called ``digital`` are no analog layers and have no profile.

        Raises:
            CimsimError: if a pattern matches no layer, or only digital ones, a profile is invalid,
                or a setting belongs to training.
        """
        for pattern, changes in layers.items():
            for key in changes:
                if key in vars(LayerSettings(self.profile)) and key not in _SETTINGS:
                    raise CimsimError(
                        f"layers '{pattern}': {key} belongs to training; only profile, keys of "
                        "a profile, and digital can be set here"
                    )
                if "." not in key and key not in (*_SETTINGS, *Profile.model_fields):
                    raise CimsimError(
                        f"layers '{pattern}': {unknown('setting of a layer', key, _SETTINGS)}"
                    )
        own = {name: self.on(name) for name in names}
        shared = {
            id(profile): LayerSettings(profile or self.profile, digital=profile is None)
            for profile in own.values()
        }
        settings = {name: shared[id(profile)] for name, profile in own.items()}
        return Assignment.of(
            {
                name: None if chosen.digital else chosen.profile
                for name, chosen in changed_by_pattern(settings, layers, digital).items()
            }
        )
