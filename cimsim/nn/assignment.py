"""Which device each layer of a model is on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cimsim.errors import CimsimError
from cimsim.nn.layer_settings import LayerSettings, changed_by_pattern
from cimsim.profile import Profile, fingerprint
from cimsim.suggest import unknown

_OF_DEVICES = ("profile", "digital")  # the words among a layer's settings that are about its device


@dataclass(frozen=True)
class Assignment:
    """One device for all analog layers of a model, but for some that are named.

    Attributes:
        profile: the device of every layer that is not named.
        layers: names of layers with the device of each, None for one that computes digitally.

    >>> from cimsim.profile import load_profile
    >>> pcm = load_profile("pcm-ibm-2020")
    >>> Assignment(pcm, (("fc1", None),)).name
    'pcm-ibm-2020 + digital'
    """

    profile: Profile
    layers: tuple[tuple[str, Profile | None], ...] = ()

    @classmethod
    def of(cls, devices: Mapping[str, Profile | None]) -> Assignment:
        """The devices of all layers by name; the one that most of them are on is the common one.

        Raises:
            CimsimError: if every layer is digital.
        """
        found = [device for device in devices.values() if device is not None]
        if not found:
            raise CimsimError("every layer is digital, so there is no device")
        common = max(found, key=found.count)
        return cls(common, tuple((n, device) for n, device in devices.items() if device != common))

    def __hash__(self) -> int:
        return hash(self.facts())

    def facts(self) -> tuple[str, tuple[tuple[str, str | None], ...]]:
        """Everything that the devices do, as text, whatever they cost."""
        return fingerprint(self.profile), tuple(
            (name, None if device is None else fingerprint(device)) for name, device in self.layers
        )

    @property
    def name(self) -> str:
        """The names of its devices."""
        names = [self.profile.name, *(d.name if d else "digital" for _, d in self.layers)]
        return " + ".join(dict.fromkeys(names))

    @property
    def profiles(self) -> list[Profile]:
        """Its devices, each once."""
        found = [self.profile]
        for _, device in self.layers:
            if device is not None and device not in found:
                found.append(device)
        return found

    def on(self, layer: str) -> Profile | None:
        """The device of the layer of that name; None if it computes digitally."""
        return dict(self.layers).get(layer, self.profile)

    def map(self, change: Callable[[Profile], Profile]) -> Assignment:
        """With every device changed.

        Raises:
            CimsimError: as ``change``; it says for which layer.
        """
        done: dict[int, Profile] = {id(self.profile): change(self.profile)}
        layers: list[tuple[str, Profile | None]] = []
        for name, device in self.layers:
            if device is not None and id(device) not in done:
                try:
                    done[id(device)] = change(device)
                except CimsimError as error:
                    raise CimsimError(f"layer '{name}' on {device.name}: {error}") from None
            layers.append((name, None if device is None else done[id(device)]))
        return Assignment(done[id(self.profile)], tuple(layers))

    def among(self, layers: Iterable[str]) -> Assignment:
        """For a model of which only ``layers`` are analog."""
        names = set(layers)
        return Assignment(self.profile, tuple(pair for pair in self.layers if pair[0] in names))

    def digital(self, layers: Iterable[str]) -> Assignment:
        """With ``layers`` computed digitally."""
        return Assignment(
            self.profile, tuple({**dict(self.layers), **dict.fromkeys(layers)}.items())
        )

    def changed(self, names: Sequence[str], layers: Mapping[str, Mapping[str, Any]]) -> Assignment:
        """With other devices for some of the layers called ``names``, by patterns as in
        :func:`cimsim.convert`; settings are ``profile``, keys of it, and ``digital``.

        Raises:
            CimsimError: if a pattern matches no layer, a device is refused, or a setting is one of
                training.
        """
        for pattern, changes in layers.items():
            for key in changes:
                if key in vars(LayerSettings(self.profile)) and key not in _OF_DEVICES:
                    raise CimsimError(
                        f"layers '{pattern}': {key} belongs to training, and here only devices "
                        "can be others: profile, keys of it, digital"
                    )
                if "." not in key and key not in (*_OF_DEVICES, *Profile.model_fields):
                    raise CimsimError(
                        f"layers '{pattern}': {unknown('setting of a device', key, _OF_DEVICES)}"
                    )
        own = {name: self.on(name) for name in names}
        shared = {
            id(device): LayerSettings(device or self.profile, digital=device is None)
            for device in own.values()
        }
        settings = {name: shared[id(device)] for name, device in own.items()}
        return Assignment.of(
            {
                name: None if chosen.digital else chosen.profile
                for name, chosen in changed_by_pattern(settings, layers).items()
            }
        )
