"""Layer sensitivity: what each analog layer costs one trained model, and what its signals suffer.

Its evaluations are a sweep whose levels are assignments of devices to layers: all layers analog,
none, and for each layer only this one and all but this one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from torch import Tensor, nn

from cimsim.analysis.budget import EVERYTHING, NOTHING, ONLY, WITHOUT, shares_of
from cimsim.analysis.metric import Metric, metric_named
from cimsim.analysis.names import layer_name
from cimsim.analysis.plot import COLORS, name_points
from cimsim.analysis.stats import Summary, summary
from cimsim.analysis.store import SENSITIVITY, sweep_folder
from cimsim.analysis.study import Result, Sheet, read_result, write_result
from cimsim.analysis.subject import ModelSubject, Subject, silent
from cimsim.analysis.sweep import Progress
from cimsim.nn import Assignment
from cimsim.nn import summary as summary_of_layers
from cimsim.units import format_duration, parse_duration

_OF_CHIPS = ("alone", "rest", "lost", "gained")  # what is a summary over chips


@dataclass(frozen=True)
class LayerSensitivity:
    """What one analog layer costs, in the metric, over the same chips; and what it suffers.

    Attributes:
        name, kind, device: of the layer.
        parameters: how many it has.
        products: its share of all analog layers' multiplications.
        tiles, utilisation: physical tiles, and the share of their cells that holds weights.
        snr_dB: power of the layer's digital output over that of its error on the chip, given the
            same input, which is the digital model's; ``10 log10(sum y^2 / sum (y_chip - y)^2)``.
        dac_cut, adc_cut: share of the values beyond the converters' ranges; None for ideal ones.
        alone: with this layer only on the chip.
        rest: with all but this one.
        lost: how much worse it is alone than without any analog layer.
        gained: how much better it is when this layer is digital, chip by chip.
    """

    name: str
    kind: str
    device: str
    parameters: int
    products: float
    tiles: int
    utilisation: float
    snr_dB: float
    dac_cut: float | None
    adc_cut: float | None
    alone: Summary
    rest: Summary
    lost: Summary
    gained: Summary


@dataclass(frozen=True)
class Sensitivity(Result):
    """The metric with every layer analog and with none, and each layer, the largest loss first."""

    model: str
    device: str
    metric: str
    token: str
    chips: int
    age_s: float
    noise: float
    samples: int | None
    everything: Summary
    nothing: Summary
    layers: tuple[LayerSensitivity, ...]

    @property
    def measured(self) -> Metric:
        """What was looked at."""
        return metric_named(self.metric, self.token)

    def table(self) -> Iterator[Sequence[object]]:
        """One row for each layer, the heading first."""
        facts = [f for f in LayerSensitivity.__dataclass_fields__ if f not in _OF_CHIPS]
        yield [*facts, *(f"{key}_{of}" for key in _OF_CHIPS for of in ("mean", "half_width"))]
        for layer in self.layers:
            levels = [getattr(layer, key) for key in _OF_CHIPS]
            numbers = [n for level in levels for n in (level.mean, level.half_width)]
            yield [*(getattr(layer, fact) for fact in facts), *numbers]

    def sheet(self) -> Sheet:
        """One row for each layer, between those of none and of all."""
        metric, blank = self.measured, ("",) * 8
        rows: list[tuple[str, ...]] = [("none", *blank, self.nothing.shown(metric), "", "", "")]
        for layer in self.layers:
            signals = f"{layer.snr_dB:.1f}" if math.isfinite(layer.snr_dB) else "no error"
            tiles = (str(layer.tiles), _percent(layer.utilisation))
            taken = (layer.device, f"{layer.parameters:,}", _percent(layer.products), *tiles)
            cut = (_percent(layer.dac_cut), _percent(layer.adc_cut))
            levels = (layer.alone, layer.lost, layer.rest, layer.gained)
            shown = (level.shown(metric) for level in levels)
            rows.append((layer_name(layer.name), *taken, signals, *cut, *shown))
        rows.append(("all", *blank, self.everything.shown(metric), "", "", ""))
        counted = ("parameters", "MACs", "tiles", "used", "SNR dB", "DAC cut", "ADC cut")
        headings = ("layer", "device", *counted, "alone", "lost", "all but it", "gained")
        caption = f"{metric.heading}, {circumstances(self)}"
        return Sheet(caption, headings, tuple(rows), range(2, len(headings)))


def assignments(devices: Assignment, layers: Iterable[str]) -> dict[str, Assignment]:
    """Every assignment that is evaluated, by name."""
    names = list(layers)
    found = {EVERYTHING: devices, NOTHING: devices.digital(names)}
    for name in names:
        found[ONLY + name] = devices.digital(other for other in names if other != name)
        found[WITHOUT + name] = devices.digital([name])
    return found


def measure(subject: Subject, chips: int) -> Sensitivity:
    """The sensitivity of a run or a model, on chips 0 to ``chips - 1``."""
    seeds = range(chips)
    wanted = assignments(subject.devices, subject.layers)
    scores = subject.scores(wanted, seeds, SENSITIVITY)
    model = subject.model()
    signals = subject.signals(model, seeds)
    products = sum(signal.products for signal in signals.values())
    by_name = {layer.name: layer for layer in summary_of_layers(model).layers}
    layers = []
    for share in shares_of(scores, subject.metric):
        found, signal = by_name[share.name], signals[share.name]
        device = subject.devices.on(share.name)
        assert found.occupancy is not None
        layers.append(
            LayerSensitivity(
                name=share.name,
                kind=found.kind,
                device="digital" if device is None else device.name,
                parameters=found.parameters,
                products=signal.products / products,
                tiles=found.occupancy.tiles,
                utilisation=found.occupancy.utilization,
                snr_dB=signal.snr_dB,
                dac_cut=signal.dac_cut,
                adc_cut=signal.adc_cut,
                alone=share.alone,
                rest=share.rest,
                lost=share.lost,
                gained=share.gained,
            )
        )
    falls = subject.metric.falls
    return Sensitivity(
        model=subject.name,
        device=subject.devices.name,
        metric=subject.metric.name,
        token=subject.token,
        chips=chips,
        age_s=subject.age_s,
        noise=subject.noise,
        samples=subject.samples,
        everything=summary(EVERYTHING, scores[EVERYTHING], falls),
        nothing=summary(NOTHING, scores[NOTHING], falls),
        layers=tuple(layers),
    )


def sensitivity(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    chips: int = 10,
    age: float | str = 0.0,
    noise: float = 1.0,
    metric: str = "accuracy",
    progress: Progress = silent,
) -> Sensitivity:
    """What each analog layer of ``model`` costs it; the model itself stays as it is.

    Args:
        model: any converted and calibrated model that answers with logits, ``[N, classes]`` or
            ``[N, T, classes]``.
        batches: test inputs with their labels, ``[N]`` or ``[N, T]``.
        chips: number of chips; their seeds are 0, 1, ….
        age: of the chips, in seconds or as text.
        noise: factor on every noise of the devices.
        metric: see :mod:`cimsim.analysis.metric`.
        progress: told after every evaluated chip.

    Raises:
        CimsimError: if no layer is analog, or one is not calibrated.
    """
    asked = {"age_s": parse_duration(age), "noise": noise, "metric": metric}
    return measure(ModelSubject(model, batches, progress=progress, **asked), chips)  # type: ignore[arg-type]


def write_sensitivity(run: Path, found: Sensitivity) -> list[Path]:
    """Keep ``found`` in the folder of the run: JSON, table and picture."""
    folder = sweep_folder(run, SENSITIVITY)
    return write_result(folder, SENSITIVITY, found, draw_sensitivity(found))


def read_sensitivity(run: Path) -> Sensitivity:
    """The sensitivity of the layers of the run in the folder ``run``.

    Raises:
        CimsimError: if it was not measured, or is damaged.
    """
    path = sweep_folder(run, SENSITIVITY) / f"{SENSITIVITY}.json"
    return read_result(path, Sensitivity, f"cimsim sensitivity {run}")


def _percent(share: float | None) -> str:
    if share is None:
        return "ideal"
    return f"{100 * share:.2f} %" if share else "0"


def draw_sensitivity(found: Sensitivity) -> Figure:
    """Side by side for each layer: what it costs, and its signal-to-noise ratio. The ends of the
    bars have the names (``gid``) ``lost``, ``gained`` and ``snr_dB``."""
    rows, metric = len(found.layers), found.measured
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08)
    figure = Figure(figsize=(9.0, 2.1 + 0.5 * rows), layout=layout)
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, sharey=True)
    places = np.arange(rows)[::-1]
    for shift, color, label, name in (
        (0.2, COLORS[0], "this layer alone is analog", "lost"),
        (-0.2, COLORS[1], "won back if it is digital", "gained"),
    ):
        several = found.chips > 1
        part: list[Summary] = [getattr(layer, name) for layer in found.layers]
        ends = [metric.factor * level.mean for level in part]
        name_points(left, ends, (places + shift).tolist(), name)
        left.barh(
            places + shift,
            ends,
            height=0.36,
            color=color,
            label=label,
            xerr=[metric.factor * level.half_width for level in part] if several else None,
            error_kw={"elinewidth": 1.1, "capsize": 2.5, "ecolor": "#555555"},
        )
    left.axvline(0, color="#555555", linewidth=0.9)
    unit = {"%": " (points)", "": ""}.get(metric.unit, f" ({metric.unit})")
    left.set_xlabel(f"{metric.title} lost{unit}")
    for place, layer in zip(places, found.layers, strict=True):
        _ratio(right, place, layer.snr_dB)
    ratios = [max(0.0, layer.snr_dB) for layer in found.layers]
    finite = [ratio if math.isfinite(ratio) else 0.0 for ratio in ratios]
    name_points(right, finite, places.tolist(), "snr_dB")
    right.set_xlabel("Signal-to-noise ratio of the output (dB)")
    right.margins(x=0.16)
    left.set_yticks(places, [layer_name(layer.name) for layer in found.layers])
    left.set_ylim(-0.6, rows - 0.4)
    for axes in (left, right):
        axes.grid(axis="x", alpha=0.25, linewidth=0.7)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(
        *left.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False
    )
    figure.suptitle(f"{found.model} on {found.device}: {circumstances(found)}", fontsize=11)
    return figure


def circumstances(found: Sensitivity) -> str:
    """Chips, age, noise and samples in a few words."""
    chips = f"{found.chips} chips" if found.chips > 1 else "1 chip"
    noise = "" if found.noise == 1 else f", {found.noise:g} times the noise"
    samples = "" if found.samples is None else f", {found.samples} samples"
    return f"{chips} at {format_duration(found.age_s)}{noise}{samples}"


def _ratio(axes: Axes, place: float, snr_dB: float) -> None:
    """One bar with its number; a layer without any error has no bar."""
    if math.isfinite(snr_dB):
        axes.barh(place, snr_dB, height=0.5, color=COLORS[2])
    at = max(snr_dB, 0.0) if math.isfinite(snr_dB) else 0.0
    text = f"{snr_dB:.1f}" if math.isfinite(snr_dB) else "no error"
    axes.annotate(
        text, (at, place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=10
    )
