"""Layer sensitivity: the effect of each analog layer on a trained model, and its signals.

The evaluations are a sweep over assignments of profiles to layers: all layers analog, none, and for
each layer only this one and all but this one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cimsim
from cimsim.analysis import figures
from cimsim.analysis.evaluation import Evaluation
from cimsim.analysis.headline import LAYER, Headline, brief_difference
from cimsim.analysis.labels import layer_name
from cimsim.analysis.sheet import Column, Sheet
from cimsim.analysis.studies.budget import shares_of
from cimsim.analysis.studies.effects import EVERYTHING, NOTHING, ONLY, WITHOUT
from cimsim.analysis.study import Facts, Options, Study, StudyResult, facts_of
from cimsim.analysis.sweeps.axis import Level, VariantsAxis
from cimsim.analysis.sweeps.stats import Summary, means, summary
from cimsim.analysis.sweeps.store import read_sweep
from cimsim.quantities import plain_number

if TYPE_CHECKING:
    from cimsim.analysis.figures.canvas import Layout, Panels
    from cimsim.analysis.subjects import Subject
    from cimsim.nn import Assignment

NAME = "sensitivity"
_OVER_CHIPS = ("alone", "rest", "lost", "gained")  # fields that are summaries over chips
_OLD_NAMES = {
    "device": "profile",
    "products": "macs",
    "dac_cut": "dac_clipped",
    "adc_cut": "adc_clipped",
}


class SensitivityOptions(Options):
    """Measure the effect of each layer of a run: only that layer on the chip, and all other layers.

    This also measures each layer's signal-to-noise ratio and the share of values that its
    converters clip. All assignments are evaluated on the same chips. Results are written to
    RUN/sensitivity/. Finished trials are kept: run the same command again to resume, and with more
    chips to add to them.
    """


@dataclass(frozen=True)
class AssignmentsAxis(VariantsAxis):
    """Assignments of profiles to layers, by name."""

    assignments: Mapping[str, Assignment] = field(default_factory=dict)

    def assign(self, assignment: Assignment, level: Level) -> Assignment:
        """The assignment of that name, for any ``assignment``."""
        return self.assignments[str(level)]


@dataclass(frozen=True)
class LayerSensitivity:
    """The effect of one analog layer, in the metric, over the same chips; and its signals.

    Attributes:
        name, kind, profile: of the layer.
        parameters: number of its parameters.
        macs: its share of all analog layers' multiplications.
        tiles, utilisation: physical tiles, and the share of their cells that holds weights.
        snr_dB: power of the layer's digital output over that of its error on the chip, given the
            same input, which is the digital model's; ``10 log10(sum y^2 / sum (y_chip - y)^2)``.
        dac_clipped, adc_clipped: share of the values beyond the converters' ranges; None for ideal
            ones.
        alone: the metric with this layer only on the chip.
        rest: the metric with all but this one.
        lost: how much worse it is alone than without any analog layer.
        gained: how much better it is if this layer is digital, chip by chip.
    """

    name: str
    kind: str
    profile: str
    parameters: int
    macs: float
    tiles: int
    utilisation: float
    snr_dB: float
    dac_clipped: float | None
    adc_clipped: float | None
    alone: Summary
    rest: Summary
    lost: Summary
    gained: Summary

    @property
    def snr_text(self) -> str:
        """The signal-to-noise ratio in dB as text."""
        return f"{self.snr_dB:.1f}" if math.isfinite(self.snr_dB) else "no error"


@dataclass(frozen=True)
class Sensitivity(StudyResult):
    """The metric with every layer analog and with none, and each layer, the largest loss first."""

    facts: Facts
    everything: Summary
    nothing: Summary
    layers: tuple[LayerSensitivity, ...]

    stem = "sensitivity/sensitivity"

    def rows(self) -> Iterator[Sequence[object]]:
        """Yield one row for each layer, the heading first."""
        names = [f for f in LayerSensitivity.__dataclass_fields__ if f not in _OVER_CHIPS]
        yield [*names, *(f"{key}_{of}" for key in _OVER_CHIPS for of in ("mean", "half_width"))]
        for layer in self.layers:
            levels = [getattr(layer, key) for key in _OVER_CHIPS]
            numbers = [n for level in levels for n in (level.mean, level.half_width)]
            yield [*(getattr(layer, name) for name in names), *numbers]

    def sheet(self) -> Sheet:
        """One row for each layer, and first and last a row without any and with all."""
        metric, layers = self.facts.measured, self.layers
        total = metric.lost(self.nothing.mean, self.everything.mean)
        lost: list[Summary | float] = [0.0, *(layer.lost for layer in layers), total]
        gained = (None, *(layer.gained for layer in layers), None)
        alone = (self.nothing, *(layer.alone for layer in layers), self.everything)
        rest = (None, *(layer.rest for layer in layers), None)

        def between(name: str, cells: Iterable[str], unit: str = "", **given: Any) -> Column:
            return Column(name, ("", *cells, ""), unit, essential=False, **given)

        columns = (
            Column("layer", ("none", *(layer_name(x.name) for x in layers), "all"), kind="name"),
            means("lost", lost, metric, lost=True),
            means("gained if digital", gained, metric, lost=True),
            Column("SNR", ("", *(layer.snr_text for layer in layers), ""), "dB"),
            between("MACs", (_percent(layer.macs) for layer in layers), "%"),
            between("clipped by DAC", (_percent(layer.dac_clipped) for layer in layers), "%"),
            between("clipped by ADC", (_percent(layer.adc_clipped) for layer in layers), "%"),
            means("with it alone", alone, metric, essential=False),
            means("with all but it", rest, metric, essential=False),
            between("tiles", (f"{layer.tiles:,}" for layer in layers)),
            between("cells used", (_percent(layer.utilisation) for layer in layers), "%"),
            between("parameters", (f"{layer.parameters:,}" for layer in layers)),
            between("profile", (layer.profile for layer in layers), kind="name"),
        )
        return Sheet(f"{self.facts.caption}{self.facts.plus_minus}", columns)

    @property
    def headline(self) -> Headline | None:
        """The layer that costs most if only it is on the chip."""
        facts, metric, first = self.facts, self.facts.measured, self.layers[0]
        if len(self.layers) < 2 or not first.lost.mean - first.lost.half_width > 0:
            return None
        sentence = (
            f"Its most sensitive layer is {layer_name(first.name)}, which alone on the chip costs "
            f"{brief_difference(metric, first.lost.mean)} ({facts.in_words})."
        )
        return Headline(LAYER, sentence, weight=facts.weight)

    def options(self) -> SensitivityOptions:
        """See :class:`Result`."""
        return SensitivityOptions()

    def hover(self) -> dict[str, list[str]]:
        """See :class:`Result`."""
        metric = self.facts.measured

        def texts(first: str, part: str, change: str) -> list[str]:
            return [
                f"{layer_name(layer.name)}\n{first}: {getattr(layer, part).with_unit(metric)}\n"
                f"{change}: {getattr(layer, change).format(metric)}"
                for layer in self.layers
            ]

        signals = [
            f"{layer_name(layer.name)}\nsignal-to-noise ratio: {layer.snr_text}"
            f"{' dB' if math.isfinite(layer.snr_dB) else ''}\n"
            f"beyond the DAC's range: {_percent(layer.dac_clipped)}\n"
            f"beyond the ADC's range: {_percent(layer.adc_clipped)}"
            for layer in self.layers
        ]
        return {
            "lost": texts("alone on the chip", "alone", "lost"),
            "gained": texts("all but it on the chip", "rest", "gained"),
            "snr_dB": signals,
        }

    @property
    def layout(self) -> Layout:
        """See :class:`Shown`."""
        return figures.canvas.row_layout(len(self.layers), 0.5, 2.1, columns=2)

    def draw(self, panels: Panels) -> None:
        """Draw for each layer its effect on the left and its signal-to-noise ratio on the right.
        The ends of the bars are named (``gid``) ``lost``, ``gained`` and ``snr_dB``."""
        facts, canvas, theme = self.facts, figures.canvas, figures.theme
        metric, rows = facts.measured, len(self.layers)
        left, right = panels.axes
        places = canvas.row_places(rows)
        for shift, color, hatch, label, name in (
            (0.2, theme.color(0), "", "this layer alone is analog", "lost"),
            (-0.2, theme.color(1), "////", "gained if it is digital", "gained"),
        ):
            levels: list[Summary] = [getattr(layer, name) for layer in self.layers]
            ends, shifted = [metric.factor * x.mean for x in levels], [p + shift for p in places]
            canvas.name_points(left, ends, shifted, name)
            left.barh(
                shifted,
                ends,
                height=0.36,
                color=color,
                hatch=hatch,
                edgecolor=theme.paper(),
                linewidth=0,
                label=label,
            )
            if facts.chips > 1:
                canvas.draw_intervals(left, ends, shifted, [x.error(metric) for x in levels])
        left.axvline(0, color=theme.quiet(), linewidth=0.9)
        left.set_xlabel(metric.loss_label)
        figures.signals.draw_bars(right, [layer.snr_dB for layer in self.layers])
        ratios = [max(0.0, x.snr_dB) if math.isfinite(x.snr_dB) else 0.0 for x in self.layers]
        canvas.name_points(right, ratios, places, "snr_dB")
        canvas.name_rows(left, places, [layer_name(layer.name) for layer in self.layers])
        canvas.style(left, "x")
        panels.legend(left, columns=2)
        panels.title(f"{facts.where}{facts.aged}: mean of {facts.counted}")

    @classmethod
    def upgrade(cls, fields: dict[str, Any], path: Path) -> dict[str, Any]:
        """See :class:`Result`."""
        if "facts" in fields:
            return fields
        layers = [{_OLD_NAMES.get(k, k): v for k, v in x.items()} for x in fields["layers"]]
        facts = old_facts(fields, fields, path.parent, fields["nothing"]["mean"])
        return {**fields, "facts": facts, "layers": layers}


def old_facts(
    fields: dict[str, Any], circumstances: dict[str, Any], folder: Path, digital: float
) -> dict[str, Any]:
    """The facts of a result of version 0.1.0, which did not hold them all: the others are those of
    the sweep in the same folder."""
    plan = read_sweep(folder).plan
    kept = {name: circumstances[name] for name in ("chips", "age_s", "noise", "samples")}
    return {
        "run": fields["model"],
        "profile": fields["device"],
        "data": plan.data,
        "checkpoint_sha256": plan.checkpoint_sha256,
        "metric": fields["metric"],
        "token": fields["token"],
        "digital": digital,
        **kept,
    }


def _percent(share: float | None) -> str:
    """A share in percent, without the unit; ``ideal`` for a converter that has no range."""
    return "ideal" if share is None else plain_number(100 * share)


def assignments(assignment: Assignment, layers: Iterable[str]) -> dict[str, Assignment]:
    """Every assignment that is evaluated, by name."""
    names = list(layers)
    variants = {EVERYTHING: assignment, NOTHING: assignment.digital(names)}
    for name in names:
        variants[ONLY + name] = assignment.digital(other for other in names if other != name)
        variants[WITHOUT + name] = assignment.digital([name])
    return variants


def sensitivity(
    subject: Subject,
    evaluation: Evaluation = Evaluation(),  # noqa: B008
) -> Sensitivity:
    """Measure the effect of each analog layer of ``subject``, and its signals.

    Raises:
        CimsimError: if no layer is analog, one is not calibrated, or as
            :func:`cimsim.analysis.sweeps.sweep.sweep`.
    """
    assignment = evaluation.assignment(subject)
    variants = assignments(assignment, subject.layers)
    sweep = evaluation.sweep(subject, AssignmentsAxis(NAME, tuple(variants), variants))
    facts, values = facts_of(sweep.plan), sweep.values()
    model = subject.model(assignment, evaluation.device)
    chips = range(evaluation.first_chip, evaluation.first_chip + evaluation.chips)
    signals = subject.signals(model, chips, evaluation.age_s, evaluation.samples)
    products = sum(signal.products for signal in signals.values())
    by_name = {layer.name: layer for layer in cimsim.nn.summary(model).layers}
    layers = []
    for share in shares_of(values, facts.measured):
        layer, signal = by_name[share.name], signals[share.name]
        profile = assignment.on(share.name)
        assert layer.occupancy is not None
        layers.append(
            LayerSensitivity(
                name=share.name,
                kind=layer.kind,
                profile="digital" if profile is None else profile.name,
                parameters=layer.parameters,
                macs=signal.products / products,
                tiles=layer.occupancy.tiles,
                utilisation=layer.occupancy.utilization,
                snr_dB=signal.snr_dB,
                dac_clipped=signal.dac_cut,
                adc_clipped=signal.adc_cut,
                alone=share.alone,
                rest=share.rest,
                lost=share.lost,
                gained=share.gained,
            )
        )
    everything, nothing = (
        summary(name, values[name], facts.measured.falls) for name in (EVERYTHING, NOTHING)
    )
    return Sensitivity(facts, everything, nothing, tuple(layers))


def _run(
    subjects: Sequence[Subject], evaluation: Evaluation, options: SensitivityOptions
) -> Sensitivity:
    return sensitivity(subjects[0], evaluation)


STUDY = Study(
    NAME,
    Sensitivity,
    "Which layers matter",
    "Sensitivity of the layers",
    options=SensitivityOptions,
    run=_run,
)
