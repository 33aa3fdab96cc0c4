"""Metrics, and that less can be better."""

from __future__ import annotations

import math

import pytest

from cimsim.analysis.figures.curves import Curve, draw
from cimsim.analysis.sweeps.axis import parse_axis
from cimsim.analysis.sweeps.metric import ACCURACY, METRICS, Metric, metric_named
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


@pytest.mark.parametrize("size", [1e-7, 1.0, 1e5])
def test_a_score_of_any_size_can_be_read(size: float) -> None:
    metric = metric_named("error:min", scores={"error": size})
    assert float(metric.format(1.234 * size).replace(",", "")) == pytest.approx(1.234 * size)


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


@pytest.mark.parametrize("metric", METRICS.values(), ids=lambda metric: metric.name)
def test_a_fraction_is_no_percentage(metric: Metric) -> None:
    """For every metric: a number that a user gives is read in the printed unit."""
    with pytest.raises(CimsimError, match="the threshold must be a finite number, not nan"):
        metric.from_printed(math.nan, "the threshold")
    if metric.unit != "%":
        assert metric.from_printed(0.9, "the threshold") == 0.9
        assert metric.from_printed(-5.0, "the threshold") == -5.0
        return
    for fraction, percent in ((0.9, "90"), (1.0, "100"), (0.005, "0.5")):
        with pytest.raises(CimsimError, match=f"in %; write {percent} for the fraction"):
            metric.from_printed(fraction, "the threshold")
    for impossible in (-5.0, 100.5):
        with pytest.raises(CimsimError, match=f"{metric.name} is from 0 to 100 %"):
            metric.from_printed(impossible, "the threshold")
    assert metric.from_printed(0.0, "the threshold") == 0.0
    assert metric.from_printed(90.0, "the threshold") == pytest.approx(0.9)


def test_a_loss_is_at_most_everything() -> None:
    for points in (math.nan, math.inf, -1.0, 100.5):
        with pytest.raises(CimsimError, match="from 0 to 100 points, not"):
            ACCURACY.require_loss(points, "the loss")
    for loss in (math.nan, math.inf, -1.0):
        with pytest.raises(CimsimError, match="must be 0 or more, not"):
            METRICS["loss"].require_loss(loss, "the loss")
    ACCURACY.require_loss(0.5, "the loss")
    METRICS["loss"].require_loss(200.0, "the loss")


def test_a_limit_is_reached_exactly_and_never_with_nonsense() -> None:
    for right in range(1001):
        percent = right / 10
        if not 0 < percent <= 1:  # which is refused as a fraction
            limit = ACCURACY.from_printed(percent, "the threshold")
            assert ACCURACY.reaches(right / 1000, limit)
            assert not ACCURACY.reaches((right - 1) / 1000, limit)
    falling = METRICS["perplexity"]
    assert falling.reaches(20.0, 20.0)
    assert falling.reaches(20.0 * (1 + 1e-12), 20.0)
    assert not falling.reaches(20.001, 20.0)
    for metric in (ACCURACY, falling):
        assert not metric.reaches(math.nan, 0.9)
    assert not falling.reaches(math.inf, 20.0)
