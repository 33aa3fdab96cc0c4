"""What each layer loses on the chip, why, and what to do about it."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Sequence

from cimsim.analysis.advise import Advice, read_advice
from cimsim.analysis.advise_plot import POINTS, draw_advice
from cimsim.analysis.names import layer_name
from cimsim.analysis.report.blocks import Block, Listing, Part, Section, Shown, Words
from cimsim.analysis.report.each import drawn, refuse_old, section_of_each
from cimsim.analysis.sensitivity import Sensitivity, draw_sensitivity, read_sensitivity
from cimsim.analysis.store import ADVICE, SENSITIVITY, read_sweep, sweep_folder

_COMMAND = "cimsim sensitivity RUN"
_ADVISE = "cimsim advise RUN"


def section(runs: Sequence[Shown]) -> Section | None:
    """The sensitivity of the layers of each run."""
    return section_of_each(runs, f"{SENSITIVITY}/*.json", _sensitivity)


def section_of_advice(runs: Sequence[Shown]) -> Section | None:
    """The advice for each run."""
    return section_of_each(runs, f"{ADVICE}/*.json", _advice)


def _sensitivity(shown: Shown) -> Iterator[Block]:
    found = read_sensitivity(shown.run.path)
    refuse_old(shown, _measured_of(shown, SENSITIVITY), _COMMAND)
    figure, what = draw_sensitivity(found), "Sensitivity of the layers"
    yield from drawn(shown, found, figure, what, _layers(found), SENSITIVITY)


def _measured_of(shown: Shown, study: str) -> str:
    """The hash of the model whose cells were evaluated."""
    return read_sweep(sweep_folder(shown.run.path, study)).plan.checkpoint_sha256


def _layers(found: Sensitivity) -> dict[str, list[str]]:
    metric, texts = found.measured, {}
    texts["lost"] = [
        f"{layer_name(layer.name)}\nalone on the chip: {layer.alone.shown_with_unit(metric)}\n"
        f"lost: {layer.lost.shown(metric)}"
        for layer in found.layers
    ]
    texts["gained"] = [
        f"{layer_name(layer.name)}\nall but it on the chip: {layer.rest.shown_with_unit(metric)}\n"
        f"gained: {layer.gained.shown(metric)}"
        for layer in found.layers
    ]
    texts["snr_dB"] = [
        f"{layer_name(layer.name)}\nsignal-to-noise ratio: {_decibels(layer.snr_dB)}\n"
        f"beyond the DAC's range: {_share(layer.dac_cut)}\n"
        f"beyond the ADC's range: {_share(layer.adc_cut)}"
        for layer in found.layers
    ]
    return texts


def _decibels(snr_dB: float) -> str:
    return f"{snr_dB:.1f} dB" if math.isfinite(snr_dB) else "no error"


def _share(cut: float | None) -> str:
    return "ideal" if cut is None else f"{100 * cut:.2f} %"


def _advice(shown: Shown) -> Iterator[Block]:
    found = read_advice(shown.run.path)
    refuse_old(shown, _measured_of(shown, ADVICE), _ADVISE)
    yield Words(found.verdict)
    if found.layers:
        options = shlex.join(word for option in found.options for word in ("--layer", option))
        yield Listing("As options of `cimsim sweep` and `cimsim train`", options, wrapped=True)
    what = "What mixed assignments lose"
    yield from drawn(shown, found, draw_advice(found), what, _tried(found), ADVICE)


def _tried(found: Advice) -> dict[str, list[str]]:
    told = [f"{name}\nlost: {lost.shown(found.measured)}" for name, lost in found.tried()]
    return {POINTS: told}


PART = Part("sensitivity", "Which layers suffer", section, _COMMAND, (f"{SENSITIVITY}/*",))
ADVICE_PART = Part("advice", "What to change", section_of_advice, _ADVISE, (f"{ADVICE}/*",))
