from __future__ import annotations

import math
from statistics import NormalDist, mean, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from cimsim.analysis.sweeps.stats import levels_matter, summaries, summary
from cimsim.analysis.sweeps.store import Trial
from tests.subjects import trial

ACCURACIES = st.lists(st.floats(0, 1), min_size=2, max_size=40)


@given(ACCURACIES)
def test_mean_interval_and_worst(accuracies: list[float]) -> None:
    found = summary(1.0, accuracies)
    assert found.chips == len(accuracies)
    assert found.mean == pytest.approx(mean(accuracies), abs=1e-12)
    assert found.std == pytest.approx(stdev(accuracies), abs=1e-9)
    assert found.standard_error == pytest.approx(found.std / math.sqrt(len(accuracies)))
    t = stats.t.ppf(0.975, len(accuracies) - 1)
    assert found.half_width == pytest.approx(t * found.standard_error)
    assert found.worst == min(accuracies) <= found.low <= found.high <= max(accuracies)


def test_the_band_holds_95_percent_of_the_chips() -> None:
    normal = NormalDist(0.9, 0.01)
    chips = [normal.inv_cdf((i + 0.5) / 4000) for i in range(4000)]
    found = summary(1.0, chips)
    assert sum(found.low <= chip <= found.high for chip in chips) == pytest.approx(3800, abs=2)


def test_one_chip_has_no_spread() -> None:
    found = summary(None, [0.5])
    assert (found.mean, found.worst, found.low, found.high) == (0.5, 0.5, 0.5, 0.5)
    assert math.isnan(found.std)
    assert math.isnan(found.half_width)


def _cell(level: float | None, chip: int, accuracy: float) -> Trial:
    return trial("b", level, chip, accuracy, 1.0)


def test_equal_chips_have_no_spread() -> None:
    """The rounded mean of three times 0.1 is another number."""
    assert summary(0.0, [0.1] * 3).std == 0.0
    assert math.isnan(summary(0.0, [0.1, math.inf, 0.1]).std)


def test_levels_keep_their_order_and_their_own_chips() -> None:
    cells = [_cell(None, 0, 0.9), _cell(4, 0, 0.5), _cell(None, 1, 0.7), _cell(4, 1, 0.1)]
    found = summaries(cells)
    assert [point.level for point in found] == [None, 4]
    assert [point.mean for point in found] == pytest.approx([0.8, 0.3])


def test_levels_matter_if_any_chip_notices() -> None:
    same = [_cell(0.0, 0, 0.9), _cell(0.0, 1, 0.8), _cell(1.0, 0, 0.9), _cell(1.0, 1, 0.8)]
    assert not levels_matter(same)
    assert levels_matter([*same, _cell(2.0, 1, 0.7)])
