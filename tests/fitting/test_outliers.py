"""Bad cells and stray reads leave the estimates alone, and nothing else is cut."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from cimsim.analysis.figures.fit import draw_fit
from cimsim.fitting import DeviceFit, Measurements, build_profile, fit_device
from cimsim.fitting.robust import FALSE_ALARMS, apart
from cimsim.profile import dump_profile, load_profile
from cimsim.profile.faults import StuckCells
from tests.fitting import truth

Rows = NDArray[np.float64]
LIKE = load_profile("pcm-ibm-2020")


def measured(rows: Rows, named: bool = True) -> Measurements:
    """Rows of target, measured, time and cell as they would be read from a file."""
    cell = rows[:, 3].astype(np.int64) if named else None
    lines = np.arange(len(rows)) + 2
    return Measurements("m.csv", rows[:, 0], rows[:, 1], rows[:, 2], cell, lines)


def with_outliers(rows: Rows, dead: int, stray: int, seed: int = 0) -> Rows:
    """Some dead cells at the three higher targets, and stray reads of six times the value."""
    rng = np.random.default_rng(seed)
    rows = rows.copy()
    cells = np.unique(rows[rows[:, 0] > truth.TARGETS[0], 3])
    bad = rng.choice(cells, dead, replace=False)
    rows[np.isin(rows[:, 3], bad), 1] = 1e-4
    alive = np.flatnonzero(~np.isin(rows[:, 3], bad))
    # One stray read in a cell: several would be how the cell is.
    chosen = rng.permutation(alive)
    chosen = chosen[np.unique(rows[chosen, 3], return_index=True)[1]][:stray]
    rows[chosen, 1] *= 6
    return rows


def estimates(fit: DeviceFit) -> dict[str, Rows]:
    """Values and errors ``[n, 2]`` by kind."""
    assert fit.read_sigma_uS is not None
    kinds = {"bias": fit.bias_uS, "sigma": fit.sigma_uS, "read": fit.read_sigma_uS}
    kinds |= {f"shift {c.time_s:g}": c.shift_uS for c in fit.changes}
    kinds |= {f"spread {c.time_s:g}": c.sigma_uS for c in fit.changes}
    return {kind: np.array(values) for kind, values in kinds.items()}


@pytest.mark.parametrize("seed", range(3))
def test_a_device_with_bad_cells_is_the_device_without_them(seed: int) -> None:
    """As in the measurements that began this: 2 % dead cells, 0.3 % stray reads."""
    rows = truth.rows(seed, cells=70, reads=3)
    bad = with_outliers(rows, dead=5, stray=7, seed=seed)
    clean, fit = fit_device(measured(rows)), fit_device(measured(bad))
    raw = fit_device(measured(bad), keep_outliers=True)
    assert max(e.value for e in raw.sigma_uS) > 2 * max(e.value for e in clean.sigma_uS)
    assert sum(s.cells for s in fit.stuck) == 5
    assert sum(read.why == "read" for read in fit.left_out) == 7
    assert len(fit.left_out) == 5 * 9 + 7
    wanted = estimates(clean)
    for kind, values in estimates(fit).items():
        # Most of the cells are the same: the estimates are much closer than their errors.
        assert (np.abs(values[:, 0] - wanted[kind][:, 0]) < wanted[kind][:, 1]).all(), kind


def test_estimates_recover_the_truth_with_outliers() -> None:
    pulls = []
    for seed in range(15):
        rows = with_outliers(truth.rows(seed, cells=70, reads=3), dead=6, stray=6, seed=seed)
        fit = fit_device(measured(rows))
        for i, g in enumerate(truth.TARGETS):
            pulls.append((fit.sigma_uS[i].value - truth.sigma(g)) / fit.sigma_uS[i].error)
            pulls.append((fit.bias_uS[i].value - truth.bias(g)) / fit.bias_uS[i].error)
    # 120 pulls that are nearly independent: their mean has an error of 0.09, their share an error
    # of 0.02.
    assert abs(np.mean(pulls)) < 0.35
    assert np.mean(np.abs(pulls) < 1.96) > 0.87


@pytest.mark.parametrize(
    ("cells", "reads", "named", "files"),
    [(70, 3, True, 25), (10, 4, True, 25), (12, 2, True, 25), (200, 1, False, 25)],
)
def test_nothing_is_cut_from_clean_data(cells: int, reads: int, named: bool, files: int) -> None:
    alarms, ratios = 0, []
    for seed in range(files):
        found = measured(truth.rows(seed, cells=cells, reads=reads), named)
        fit, raw = fit_device(found), fit_device(found, keep_outliers=True)
        alarms += bool(fit.left_out)
        ratios += [a.value / b.value for a, b in zip(fit.sigma_uS, raw.sigma_uS, strict=True)]
    # The stated rate, and what chance makes of it in one of 10,000 runs of this test.
    assert alarms <= stats.binom.ppf(1 - 1e-4, files, 2 * FALSE_ALARMS)
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.005)


def test_the_chance_of_a_false_alarm_is_the_one_asked_for() -> None:
    rng = np.random.default_rng(0)
    for number in (10, 40):
        cut = sum(int(apart(rng.normal(size=number), 0.01, 0.0).sum()) for _ in range(800))
        # An iteration from within a robust core cuts a little more than 1 %.
        assert 0.007 < cut / (800 * number) < 0.03


@pytest.mark.parametrize("step", [0.1, 0.5, 2.0])
def test_a_coarse_instrument_makes_no_outliers(step: float) -> None:
    for seed in range(4):
        rows = truth.rows(seed, cells=40, reads=3)
        rows[:, 1] = np.round(rows[:, 1] / step) * step
        assert len(fit_device(measured(rows)).left_out) <= 1
        rows[rows[:, 3] == 150, 1] = 0.0
        fit = fit_device(measured(rows))
        assert [(s.at, s.cells) for s in fit.stuck] == [("g_min", 1)]


def test_telegraph_noise_of_many_cells_is_no_accident() -> None:
    rng = np.random.default_rng(0)
    rows = truth.rows(0, cells=60, reads=6)
    trap = rng.random(240) < 0.1
    jumps = trap[rows[:, 3].astype(int)] & (rng.random(len(rows)) < 0.3)
    rows[:, 1] *= np.where(jumps, 0.7, 1.0)
    fit = fit_device(measured(rows))
    # Cells that jumped once only look like any other stray read.
    assert sum(read.why == "read" for read in fit.left_out) < 0.1 * jumps.sum()
    assert "telegraph noise" in " ".join(fit.notes)


def test_a_second_mode_is_no_accident() -> None:
    rows = truth.rows(0, cells=60, reads=3)
    second = (rows[:, 3] % 7 == 0) & (rows[:, 0] == 16.0)
    rows[second, 1] -= 6.0
    fit = fit_device(measured(rows))
    assert not fit.left_out
    assert "of 60 cells are far from the others; these are too many to be outliers" in " ".join(
        fit.notes
    )


def test_heavy_tails_widen_the_criterion() -> None:
    cut = {}
    for freedom in (3.0, np.inf):
        rng = np.random.default_rng(0)
        rows = truth.rows(0, cells=1000, reads=1)
        error = rng.standard_t(freedom, size=4000) if freedom < np.inf else rng.normal(size=4000)
        g = rows[:, 0]
        rows[:, 1] = g + 0.03 * g * error[rows[:, 3].astype(int)] + 0.02 * rng.normal(size=len(g))
        cut[freedom] = len(fit_device(measured(rows)).left_out) / len(rows)
    normal_limit = 4.9  # of one value of 12,000 in one file of 200
    assert cut[3.0] < 0.1 * 2 * stats.t.sf(normal_limit * stats.t.ppf(0.75, 3) / 0.6745, 3)
    assert cut[np.inf] == 0


@pytest.mark.parametrize(
    ("level", "at"),
    [(0.0, "g_min"), (1e-4, "g_min"), (25.0, "g_max"), (9999.0, "g_max"), (9.0, "random")],
)
@pytest.mark.parametrize("named", [True, False])
def test_stuck_cells_are_told_apart_by_where_they_are(level: float, at: str, named: bool) -> None:
    rows = truth.rows(0, cells=50, reads=1)
    rows[rows[:, 3] == 120, 1] = level  # one whose target is 16 uS
    fit = fit_device(measured(rows, named))
    assert [(s.at, s.cells) for s in fit.stuck] == [(at, 1)]
    (stuck,) = fit.stuck
    assert stuck.around_uS == level
    assert 50 <= stuck.of <= 200
    assert stuck.low < stuck.rate < stuck.high
    assert stuck.rate == 1 / stuck.of
    assert "1 of 200 cells is stuck" in " ".join(fit.notes)


def test_many_dead_cells_are_still_dead_cells() -> None:
    rows = truth.rows(0, cells=60, reads=3)
    rows[rows[:, 3] % 4 == 0, 1] = 0.0
    fit = fit_device(measured(rows))
    (stuck,) = fit.stuck
    assert (stuck.at, stuck.cells, stuck.of) == ("g_min", 60, 240)
    assert stuck.low < 0.25 < stuck.high
    for i, g in enumerate(truth.TARGETS):
        assert fit.sigma_uS[i].value == pytest.approx(truth.sigma(g), abs=4 * fit.sigma_uS[i].error)


def test_a_cell_that_dies_later_is_left_out_then_only() -> None:
    rows = truth.rows(0, cells=50, reads=3)
    rows[(rows[:, 3] == 120) & (rows[:, 2] > 1e4), 1] = 0.0
    fit = fit_device(measured(rows))
    assert not fit.stuck
    assert {(read.why, read.time_s) for read in fit.left_out} == {("cell", 86400.0)}
    assert len(fit.left_out) == 3


def test_one_read_of_two_is_the_stray_one() -> None:
    rows = truth.rows(0, cells=50, reads=2)
    stray = int(np.flatnonzero((rows[:, 3] == 120) & (rows[:, 2] == 3600.0))[1])
    rows[stray, 1] = 90.0
    assert [read.line for read in fit_device(measured(rows)).left_out] == [stray + 2]


def test_outliers_that_are_kept_are_still_counted() -> None:
    found = measured(with_outliers(truth.rows(0, cells=70, reads=3), dead=5, stray=7))
    kept = fit_device(found, keep_outliers=True)
    assert not kept.left_out
    assert not kept.stuck
    said = " ".join(kept.notes)
    assert "5 of 280 cells are stuck" in said
    assert "All of them were kept" in said
    assert build_profile("mine", kept, LIKE, "m.csv").cell.faults == ()


def test_stuck_cells_are_faults_of_the_profile(tmp_path: Path) -> None:
    rows = with_outliers(truth.rows(0, cells=70, reads=3), dead=5, stray=7)
    rows[rows[:, 3] == 3, 1] = 25.0
    profile = build_profile("mine", fit_device(measured(rows)), LIKE, "m.csv")
    low, high = profile.cell.faults
    assert isinstance(low, StuckCells)
    assert isinstance(high, StuckCells)
    assert (low.at, high.at) == ("g_min", "g_max")
    assert low.rate == pytest.approx(5 / 280, rel=1e-5)
    assert isinstance(low.source, str)
    bounds = stats.binomtest(5, 280).proportion_ci(0.95, method="exact")
    assert f"95 % interval of the rate {bounds.low:.3g} to {bounds.high:.3g}" in low.source
    (tmp_path / "mine.yaml").write_text(dump_profile(profile))
    assert load_profile(tmp_path / "mine.yaml") == profile


def test_what_is_left_out_is_drawn_without_ruining_the_scale() -> None:
    rows = with_outliers(truth.rows(0, cells=70, reads=3), dead=5, stray=7)
    rows[rows[:, 3] == 3, 1] = 9999.0
    found = measured(rows)
    fit = fit_device(found)
    axes = draw_fit("mine", found, fit).axes[0]
    labels = axes.get_legend_handles_labels()[1]
    assert {"left out, far below", "left out, far above"} <= set(labels)
    clean = draw_fit("mine", measured(truth.rows(0, cells=70, reads=3)), replace(fit, left_out=()))
    (low, high), (lowest, highest) = axes.get_ylim(), clean.axes[0].get_ylim()
    assert high - low < 3 * (highest - lowest)


@pytest.mark.parametrize("made", ["a mark for no value", "a first read that is high"])
def test_a_spread_that_reads_hide_is_said_to_be(made: str) -> None:
    rows = truth.rows(0, cells=40, reads=4)
    assert "smaller than that of the reads" not in " ".join(fit_device(measured(rows)).notes)
    if made == "a mark for no value":
        one_each = (
            13 * rows[:, 0] + 7 * rows[:, 2] + rows[:, 3]
        )  # of four reads, now this, now that
        rows[rows[:, 4] == one_each % 4, 1] = 9999.0
    else:
        rows[rows[:, 4] == 0.0, 1] *= 1.5
    fit = fit_device(measured(rows))
    hidden = [g for g, s in zip(fit.targets_uS, fit.sigma_uS, strict=True) if not s.value]
    assert hidden
    at = ", ".join(f"{g:g}" for g in hidden)
    assert f"The programming spread at {at} µS is smaller than that of the reads" in " ".join(
        fit.notes
    )
