"""Numbers and sentences of the page."""

from __future__ import annotations

import math

import pytest
import torch

from cimsim.analysis.sweeps.metric import ACCURACY, METRICS
from cimsim.analysis.sweeps.stats import summary
from cimsim.app.results import Accuracy, LayerSignals, Weights
from cimsim.app.setting import Setting
from cimsim.nn import Signals


def test_the_error_of_the_samples_is_said() -> None:
    point = summary(1.0, [0.9, 0.9])
    shown = Accuracy(point, ACCURACY, 0.95, 400, 10_000)
    assert shown.headline == "90.00 ± 0.00 %"
    assert shown.details == (
        "Mean of 2 chips ± its 95 % interval; worst chip: 90.00 %; without the chip: 95.00 %.",
        "On the first 400 of 10,000 test samples. Other test samples would change it by about "
        "± 2.94 points (95 %).",  # 1.96 sqrt(0.9 * 0.1 / 400)
    )


def test_one_chip_and_other_metrics() -> None:
    one = Accuracy(summary(1.0, [2.5]), METRICS["loss"], 2.0, 400, 400)
    assert one.headline == "2.50 nats"
    assert one.details == ("One chip; without the chip: 2.00 nats.", "On all 400 test samples.")
    unknown = Accuracy(summary(1.0, [0.5]), ACCURACY, 0.5, None, None)
    assert unknown.details[1] == "On the test data."


def test_weights_and_their_errors() -> None:
    ideal = torch.tensor([[-1.0, 0.0], [0.5, 2.0]])
    shown = Weights.of("fc", ideal, ideal + torch.tensor([0.1, -0.1]))
    assert shown.rms == pytest.approx(0.05)
    assert shown.headline == "5 %"
    assert shown.ideal.edges == shown.on_chip.edges
    assert sum(shown.errors.counts) == 4
    assert shown.errors.counts[0] == shown.errors.counts[-1] == 2
    assert sum(shown.ideal.percentages) == pytest.approx(100)


@pytest.mark.parametrize("ideal", [torch.zeros(3), torch.ones(3), torch.zeros(0)])
def test_weights_without_spread_or_error(ideal: torch.Tensor) -> None:
    shown = Weights.of("fc", ideal, ideal)
    assert shown.rms == 0
    assert sum(shown.errors.counts) == len(ideal)


def test_a_weight_without_limit_is_left_out() -> None:
    shown = Weights.of("fc", torch.ones(2), torch.tensor([math.inf, 1.5]))
    assert shown.rms == pytest.approx(0.5)


def test_the_lowest_signal_leads() -> None:
    signals = {"a": Signals(power=100.0, error=1.0), "": Signals(power=10.0, error=1.0)}
    shown = LayerSignals.of(signals)
    assert (shown.headline, shown.lowest) == ("10.0 dB", "(the model)")
    assert LayerSignals.of({"a": Signals(power=1.0)}).headline == "no error"


def test_overrides_are_those_of_the_command_line() -> None:
    assert Setting("n").overrides == ()
    assert Setting("n", dac_bits="4").overrides == ("dac.bits=4",)
