"""What the page shows of a network that no study computes: one point, signals, and weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from cimsim.analysis import figures
from cimsim.analysis.figures.canvas import Layout, Panels
from cimsim.analysis.figures.weights import Histogram
from cimsim.analysis.labels import layer_name
from cimsim.analysis.sweeps.metric import ACCURACY, Metric
from cimsim.analysis.sweeps.stats import Summary
from cimsim.nn import Signals
from cimsim.quantities import plain_number

_BINS = 48
_NORMAL_95 = 1.96  # half-width of a 95 % interval in standard errors


@dataclass(frozen=True)
class Accuracy:
    """The metric of a network on some chips.

    Attributes:
        point: mean, interval and worst of the chips.
        metric: the metric.
        digital: the metric without any non-ideality, on the same samples.
        samples: number of test samples that were used; None if unknown.
        available: number of test samples that there are; None if unknown.
    """

    point: Summary
    metric: Metric
    digital: float
    samples: int | None
    available: int | None

    @property
    def headline(self) -> str:
        """The mean over chips with its interval: ``92.00 ± 4.97 %``."""
        return self.point.with_unit(self.metric)

    @property
    def title(self) -> str:
        """The metric in words."""
        return self.metric.title

    @property
    def details(self) -> tuple[str, ...]:
        """Sentences on chips, samples and their errors."""
        metric, point = self.metric, self.point
        digital = f"without the chip: {metric.with_unit(self.digital)}"
        if point.chips > 1:
            chips = f"Mean of {point.chips} chips ± its 95 % interval"
            worst = f"worst chip: {metric.with_unit(point.worst)}"
            return f"{chips}; {worst}; {digital}.", self._on_samples
        return f"One chip; {digital}.", self._on_samples

    @property
    def _on_samples(self) -> str:
        if self.samples is None:
            return "On the test data."
        if self.samples == self.available:
            return f"On all {self.samples:,} test samples.{self._of_samples}"
        of = "" if self.available is None else f" of {self.available:,}"
        return f"On the first {self.samples:,}{of} test samples.{self._of_samples}"

    @property
    def _of_samples(self) -> str:
        """The error of an accuracy by the choice of the samples, ``1.96 sqrt(p (1 - p) / n)``."""
        p = self.point.mean
        if self.metric.source != ACCURACY.source or not self.samples or not 0 <= p <= 1:
            return ""
        half = _NORMAL_95 * math.sqrt(p * (1 - p) / self.samples)
        points = self.metric.difference_with_unit(half)
        return f" Other test samples would change it by about ± {points} (95 %)."


@dataclass(frozen=True)
class LayerSignals:
    """The signal-to-noise ratio of each layer's output, in the order of the layers.

    Attributes:
        ratios_dB: by the layers' names; see :attr:`cimsim.nn.Signals.snr_dB`.
    """

    ratios_dB: Mapping[str, float]

    @classmethod
    def of(cls, signals: Mapping[str, Signals]) -> LayerSignals:
        """From the signals that were measured."""
        return cls({name: signal.snr_dB for name, signal in signals.items()})

    @property
    def headline(self) -> str:
        """The lowest ratio: ``18.3 dB``."""
        lowest = min(self.ratios_dB.values())
        return f"{lowest:.1f} dB" if math.isfinite(lowest) else "no error"

    @property
    def lowest(self) -> str:
        """The name of the layer with the lowest ratio."""
        return layer_name(min(self.ratios_dB, key=lambda name: self.ratios_dB[name]))

    @property
    def layout(self) -> Layout:
        """Size of the figure."""
        return figures.signals.layout_of(len(self.ratios_dB))

    def draw(self, panels: Panels) -> None:
        """Draw a bar for each layer."""
        names = [layer_name(name) for name in self.ratios_dB]
        figures.signals.draw(panels, names, list(self.ratios_dB.values()))


@dataclass(frozen=True)
class Weights:
    """The weights of one layer: ideal, and as one chip holds them at its age.

    Attributes:
        layer: name of the layer.
        ideal, on_chip: distributions of the weights, in the same bins.
        errors: distribution of the differences, chip minus ideal.
        rms: root mean square of the differences over the largest ideal weight.
    """

    layer: str
    ideal: Histogram
    on_chip: Histogram
    errors: Histogram
    rms: float

    @classmethod
    def of(cls, layer: str, ideal: Tensor, on_chip: Tensor) -> Weights:
        """Count the weights of ``layer``, given in one shape."""
        exact, held = (w.detach().double().cpu().flatten().numpy() for w in (ideal, on_chip))
        finite = np.isfinite(held)  # a fault may be without limit
        exact, held = exact[finite], held[finite]
        both = np.concatenate([exact, held])
        low, high = float(both.min(initial=0.0)), float(both.max(initial=0.0))
        errors = held - exact
        largest = float(np.abs(exact).max(initial=0.0))
        rms = float(np.sqrt(np.square(errors).mean())) if errors.size else 0.0
        edge = float(np.abs(errors).max(initial=0.0)) or 1e-3 * largest or 1.0
        return cls(
            layer,
            _histogram(exact, low, high),
            _histogram(held, low, high),
            _histogram(errors, -edge, edge),
            rms / largest if largest else 0.0,
        )

    @property
    def headline(self) -> str:
        """The error in % of the largest weight."""
        return f"{plain_number(100 * self.rms)} %"

    @property
    def layout(self) -> Layout:
        """Size of the figure."""
        return figures.weights.LAYOUT

    def draw(self, panels: Panels) -> None:
        """Draw the distributions."""
        figures.weights.draw(panels, self.ideal, self.on_chip, self.errors)


def _histogram(values: np.ndarray, low: float, high: float) -> Histogram:
    low, high = (low, high) if high > low else (low - 0.5, low + 0.5)
    counts, edges = np.histogram(values, _BINS, (low, high))
    return Histogram(tuple(edges.tolist()), tuple(counts.tolist()))
