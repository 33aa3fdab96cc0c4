"""The positions of all controls of the page."""

from __future__ import annotations

from dataclasses import dataclass

OWN = ""
"""A profile or a number of bits that nothing replaces: the network's or the profile's own."""

IDEAL = "ideal"


@dataclass(frozen=True)
class Setting:
    """What the page shows results for.

    Attributes:
        network: name of the network.
        profile: name of the profile of all layers; :data:`OWN` for the network's own.
        noise: factor on every noise of the profile.
        age_s: age of the chips in seconds.
        adc_bits, dac_bits: bits of the converters as text, ``ideal``, or :data:`OWN`.
        chips: number of chips, with the seeds 0, 1, …
        samples: number of test samples; None for all.
        chip: seed of the chip whose weights are shown.
        layer: name of the layer whose weights are shown.
    """

    network: str
    profile: str = OWN
    noise: float = 1.0
    age_s: float = 0.0
    adc_bits: str = OWN
    dac_bits: str = OWN
    chips: int = 5
    samples: int | None = None
    chip: int = 0
    layer: str = ""

    @property
    def overrides(self) -> tuple[str, ...]:
        """Changed values of the profile, as options ``--set`` take them.

        >>> Setting("mlp", adc_bits="6", dac_bits="ideal").overrides
        ('adc.bits=6', 'dac.bits=null')
        """
        bits = {"adc.bits": self.adc_bits, "dac.bits": self.dac_bits}
        changed = {key: text for key, text in bits.items() if text != OWN}
        return tuple(f"{k}={'null' if text == IDEAL else text}" for k, text in changed.items())
