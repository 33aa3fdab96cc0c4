"""The command lines that compute again what the page shows."""

from __future__ import annotations

import shlex

from cimsim.analysis.sweeps.axis import Axis, format_axis
from cimsim.app.setting import OWN, Setting
from cimsim.units import typed_duration


def commands(setting: Setting, network: str, profile: str, axis: Axis) -> tuple[str, ...]:
    """Return a command for the accuracies, one for the energy, and one for the layers' signals.

    ``cimsim sensitivity`` changes no values of a profile, so it is left out where the page does.

    Args:
        setting: the positions of the controls.
        network: the network as commands name it: a folder, or ``package.module:function``.
        profile: the profile as commands name it; :data:`OWN` for the network's own.
        axis: the levels of the curve.
    """
    chosen = () if profile == OWN else ("--profile", profile)
    chips: tuple[str, ...] = ("--chips", str(setting.chips))
    if setting.samples is not None:
        chips += ("--samples", str(setting.samples))
    if setting.age_s:
        chips += ("--age", typed_duration(setting.age_s))
    layers = ("--layer", f"*:{','.join(setting.overrides)}") if setting.overrides else ()
    changes = tuple(word for text in setting.overrides for word in ("--set", text))
    lines = [
        ("sweep", network, "--over", format_axis(axis), *chosen, *layers, *chips),
        ("cost", network, *chosen, *changes),
    ]
    if not setting.overrides:
        noise = () if setting.noise == 1 else ("--noise", f"{setting.noise:g}")
        lines.append(("sensitivity", network, *chosen, *noise, *chips))
    return tuple(shlex.join(("cimsim", *words)) for words in lines)
