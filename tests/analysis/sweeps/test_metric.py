"""Metrics, and that less can be better."""

from __future__ import annotations

import math

import pytest

from cimsim.analysis.figures.curves import Curve, draw
from cimsim.analysis.sweeps.axis import parse_axis
from cimsim.analysis.sweeps.metric import ACCURACY, METRICS, metric_named
from cimsim.analysis.sweeps.stats import summaries
from cimsim.errors import CimsimError
from tests.subjects import trial

CELLS = [trial("b", 0.0, chip, 0.5, loss) for chip, loss in enumerate((1.0, 1.2, 1.4))]


@pytest.mark.parametrize(
    ("name", "value", "worst"),
    [
        ("accuracy", 0.5, 0.5),
        ("loss", 1.2, 1.4),
        ("bits", 1.2 / math.log(2), 1.4 / math.log(2)),
        ("perplexity", (math.e + math.exp(1.2) + math.exp(1.4)) / 3, math.exp(1.4)),
    ],
)
def test_what_each_is(name: str, value: float, worst: float) -> None:
    (found,) = summaries(CELLS, metric_named(name))
    assert found.mean == pytest.approx(value)
    assert found.worst == pytest.approx(worst)


def test_a_chip_that_gives_nonsense_has_infinite_perplexity() -> None:
    for loss in (math.inf, 1e9):
        assert METRICS["perplexity"].of({"loss": loss}) == math.inf
    assert math.isnan(METRICS["perplexity"].of({"loss": math.nan}))


def test_words() -> None:
    assert ACCURACY.label == "Test accuracy (%)"
    assert metric_named("accuracy", "word").label == "Test accuracy (%)"
    assert metric_named("perplexity", "word").label == "Test perplexity per word"
    assert metric_named("loss", "word").heading == "Test loss per word in nats"
    assert metric_named("perplexity").format(12.345) == "12.35"
    assert ACCURACY.lost(0.9, 0.8) == pytest.approx(0.1)
    assert METRICS["loss"].lost(1.0, 1.5) == pytest.approx(0.5)
    with pytest.raises(CimsimError, match="unknown metric 'perplexty'; did you mean 'perplexity'"):
        metric_named("perplexty")


def test_perplexities_far_apart_are_drawn_on_a_logarithmic_axis() -> None:
    def scale(losses: list[float]) -> str:
        cells = [trial("b", float(i), 0, 0.5, loss) for i, loss in enumerate(losses)]
        points = tuple(summaries(cells, METRICS["perplexity"]))
        figure = draw([Curve("a", 3.0, points)], parse_axis("noise=0:2:1"), METRICS["perplexity"])
        return figure.axes[0].get_yscale()

    assert scale([1.0, 1.5, 2.0]) == "linear"
    assert scale([1.0, 3.0, 9.0]) == "log"


def test_statistics_with_a_chip_that_gives_nonsense() -> None:
    cells = [*CELLS, trial("b", 0.0, 3, 0.0, math.inf)]
    (found,) = summaries(cells, METRICS["perplexity"])
    assert found.mean == found.worst == math.inf
