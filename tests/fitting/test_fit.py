"""A truth that is known must be recovered within what the fit says of its own errors."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import cimsim
from cimsim.fitting import (
    DeviceFit,
    Estimate,
    Reading,
    build_profile,
    fit_device,
    read_measurements,
)
from cimsim.fitting.estimates import notes_on_lowest
from cimsim.physics import ReadContext, aged_uS, programmed_uS, sampled_reads_uS
from cimsim.physics.characteristics import characteristics
from cimsim.profile import dump_profile, load_profile
from tests.fitting import truth

LIKE = load_profile("pcm-ibm-2020")


def fitted(path: Path, seed: int = 0, **made: int) -> DeviceFit:
    return fit_device(read_measurements(truth.write(path / "m.csv", truth.rows(seed, **made))))


def pulls(fit: DeviceFit) -> dict[str, list[float]]:
    """Estimate minus truth over standard error, for every estimate of a kind."""

    def pull(estimate: Estimate, expected: float) -> float:
        return (estimate.value - expected) / estimate.error

    assert fit.read_sigma_uS is not None
    found: dict[str, list[float]] = {k: [] for k in ("bias", "sigma", "shift", "spread", "read")}
    for i, g in enumerate(fit.targets_uS):
        found["bias"].append(pull(fit.bias_uS[i], truth.bias(g)))
        found["sigma"].append(pull(fit.sigma_uS[i], truth.sigma(g)))
        found["read"].append(pull(fit.read_sigma_uS[i], truth.read_sigma(g)))
        for change in fit.changes:
            found["shift"].append(pull(change.shift_uS[i], truth.shift(g, change.time_s)))
            expected = truth.drift_sigma(g, change.time_s)
            found["spread"].append(pull(change.sigma_uS[i], expected))
    return found


def test_95_percent_intervals_hold_the_truth_95_percent_of_the_time(tmp_path: Path) -> None:
    every: dict[str, list[float]] = {}
    for seed in range(40):
        for kind, values in pulls(fitted(tmp_path, seed, cells=60)).items():
            every.setdefault(kind, []).extend(values)
    for kind, values in every.items():
        inside = np.mean(np.abs(values) < 1.96)
        # 160 estimates or more: 0.95 has a standard deviation of 0.017.
        assert inside == pytest.approx(0.95, abs=0.05), kind
        assert abs(np.mean(values)) < 0.35, kind


def test_unnamed_cells_give_the_same_means_and_the_growth_of_the_spread(tmp_path: Path) -> None:
    table = truth.rows(1, cells=4000, reads=1)
    fit = fit_device(read_measurements(truth.write(tmp_path / "m.csv", table, "tmt")))
    assert fit.read_sigma_uS is None
    assert "Cells have no names" in fit.notes[0]
    assert "Read noise was not measured" in fit.notes[1]
    day = fit.changes[-1]
    for i, g in enumerate(truth.TARGETS):
        assert fit.bias_uS[i].value == pytest.approx(truth.bias(g), abs=4 * fit.bias_uS[i].error)
        assert day.shift_uS[i].value == pytest.approx(
            truth.shift(g, 86400.0), abs=4 * day.shift_uS[i].error
        )
        # Without repeated reads their noise counts as programming noise.
        both = np.hypot(truth.sigma(g), truth.read_sigma(g))
        assert fit.sigma_uS[i].value == pytest.approx(both, abs=4 * fit.sigma_uS[i].error)
        grown = truth.drift_sigma(g, 86400.0)
        assert day.sigma_uS[i].value == pytest.approx(grown, abs=4 * day.sigma_uS[i].error)


@pytest.mark.parametrize("reads", [1, 4])
def test_cells_that_drift_in_proportion_keep_their_measured_spread(
    tmp_path: Path, reads: int
) -> None:
    """A cell that decays by a factor also loses a part of its programming error."""
    table = truth.proportional(5, cells=1000, reads=reads)
    fit = fit_device(read_measurements(truth.write(tmp_path / "m.csv", table)))
    assert any("correlated with their errors in the first reads" in note for note in fit.notes)
    assert not any("part of the drift" in note for note in fit.notes)
    cell = build_profile("mine", fit, LIKE, "m.csv").cell
    for g in truth.TARGETS[1:]:
        target = torch.full((20_000,), g, dtype=torch.float64)
        fresh = programmed_uS(target, cell, seed=0)
        for time in truth.TIMES:
            at_once = table[(table[:, 0] == g) & (table[:, 2] == time)]
            values = at_once[:, 1].reshape(reads, -1)
            of_cells = values.mean(0)
            of_reads = values.var(0, ddof=1).mean() / reads if reads > 1 else 0.0
            measured = of_cells.var(ddof=1) - of_reads
            simulated = aged_uS(fresh, target, cell, time, seed=0)
            assert simulated.mean() == pytest.approx(of_cells.mean(), rel=0.002)
            assert simulated.std() == pytest.approx(np.sqrt(measured), rel=0.03), (g, time)


def test_read_noise_follows_the_conductance_of_a_cell_that_drifts(tmp_path: Path) -> None:
    """Fresh cells of the highest target have more of it than their mean over all ages."""
    table = truth.proportional(5, cells=1000)
    fit = fit_device(read_measurements(truth.write(tmp_path / "m.csv", table)))
    assert fit.read_at_uS is not None
    assert fit.read_sigma_uS is not None
    values = [sigma.value for sigma in fit.read_sigma_uS]
    for g in truth.TARGETS:
        for time in truth.TIMES:
            now = table[(table[:, 0] == g) & (table[:, 2] == time), 1].mean()
            read = np.interp(now, fit.read_at_uS, values)
            assert read == pytest.approx(truth.read_sigma(now), rel=0.04), (g, time)


@pytest.mark.parametrize("columns", ["tmt", "tmtcr"])
def test_a_spread_that_shrinks_with_age_is_noted(tmp_path: Path, columns: str) -> None:
    path = truth.write(tmp_path / "m.csv", truth.proportional(5, cells=1000), columns)
    fit = fit_device(read_measurements(path))
    (note,) = (note for note in fit.notes if "shrinks with age" in note)
    assert "at 2 µS (from 0.3" in note
    assert "at 2 µS after 1 d)" in note
    assert [change.sigma_uS[0].value for change in fit.changes] == [0.0, 0.0]


def test_the_profile_says_what_was_fitted(tmp_path: Path) -> None:
    fit = fitted(tmp_path)
    profile = build_profile("mine", fit, LIKE, "m.csv", "ReRAM")
    assert (profile.cell.g_min_uS, profile.cell.g_max_uS) == (2.0, 25.0)
    assert profile.array.source == "assumption: as in pcm-ibm-2020"
    (row,) = characteristics(profile, [16.0], [86400.0])
    assert row.sigma_prog_uS == pytest.approx(
        np.hypot(fit.sigma_uS[2].value, fit.changes[1].sigma_uS[2].value), rel=1e-4
    )
    expected = 16.0 + fit.bias_uS[2].value + fit.changes[1].shift_uS[2].value
    assert row.g_mean_uS == pytest.approx(expected, rel=1e-4)
    assert fit.read_sigma_uS is not None
    assert row.sigma_read_uS == pytest.approx(fit.read_sigma_uS[2].value, rel=0.02)
    (tmp_path / "mine.yaml").write_text(dump_profile(profile))
    assert load_profile(tmp_path / "mine.yaml") == profile


def test_a_device_of_ours_is_found_again(tmp_path: Path) -> None:
    """Measured on the simulator itself: PCM with its 1/f noise, fresh and after an hour."""
    cell, reads, n = LIKE.cell, 3, 500
    rows = []
    for index, g in enumerate((5.0, 15.0, 25.0)):
        target = torch.full((n,), g, dtype=torch.float64)
        fresh = programmed_uS(target, cell, seed=index)
        for age_s in (0.0, 3600.0):
            now = aged_uS(fresh, target, cell, age_s, seed=index)
            draws = torch.Generator().manual_seed(index)
            for read in range(reads):  # in sessions so far apart that slow noise has forgotten
                at, chip = ReadContext(now, target, cell, age_s), reads * index + read
                seen = sampled_reads_uS(at, chip, draws, reads=1)[0].clamp_min(0)
                columns = (target, seen, torch.full((n,), age_s).double())
                names = torch.arange(n).double() + n * index
                table = torch.stack((*columns, names, torch.full((n,), float(read)).double()), 1)
                rows.append(table.numpy())
    path = truth.write(tmp_path / "pcm.csv", np.concatenate(rows))
    fit = fit_device(read_measurements(path))
    expected = characteristics(LIKE, [5.0, 15.0, 25.0], [0.0, 3600.0])
    for i in range(3):
        fresh_row, hour = expected[2 * i], expected[2 * i + 1]
        sigma, shift = fit.sigma_uS[i], fit.changes[0].shift_uS[i]
        assert sigma.value == pytest.approx(fresh_row.sigma_prog_uS, abs=4 * sigma.error)
        change = hour.g_mean_uS - fresh_row.g_mean_uS
        assert shift.value == pytest.approx(change, abs=4 * shift.error + 0.02 * abs(change))


def test_a_model_trains_and_runs_on_it(tmp_path: Path) -> None:
    profile = build_profile("mine", fitted(tmp_path), LIKE, "m.csv")
    x = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
    model = cimsim.calibrate(cimsim.convert(nn.Linear(8, 4), profile), [x])
    model(x).square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    cimsim.age(cimsim.program(model.eval(), seed=1), "1 day")
    assert torch.isfinite(model(x)).all()


def test_reads_repeated_at_one_time_serve_the_others(tmp_path: Path) -> None:
    table = truth.rows(3, cells=1000)
    once = table[(table[:, 2] == 3600.0) | (table[:, 4] == 0)]
    fit = fit_device(read_measurements(truth.write(tmp_path / "m.csv", once)))
    for i, g in enumerate(truth.TARGETS):
        assert fit.sigma_uS[i].value == pytest.approx(truth.sigma(g), abs=4 * fit.sigma_uS[i].error)
        day = fit.changes[-1].sigma_uS[i]
        assert day.value == pytest.approx(truth.drift_sigma(g, 86400.0), abs=4 * day.error)


def test_what_the_floor_makes_of_errors_at_the_lowest_target_is_said_rightly(
    tmp_path: Path,
) -> None:
    fit = fitted(tmp_path)
    assert not fit.notes
    cell = build_profile("mine", fit, LIKE, "m.csv").cell
    bias_uS, sigma_uS = fit.bias_uS[0].value, fit.sigma_uS[0].value
    (note,) = notes_on_lowest(0.2, bias_uS, sigma_uS)
    target = torch.full((100_000,), 0.2, dtype=torch.float64)  # the tables are constant below 2
    error = programmed_uS(target, cell, seed=0) - target
    said = f"a bias of {error.mean():.2g} and a spread of {error.std():.2g} µS"
    assert said in note


def test_the_assumed_parts_name_no_source_but_the_assumption(tmp_path: Path) -> None:
    profile = build_profile("mine", fitted(tmp_path), load_profile("pcm-hermes-2023"), "m.csv")
    assert profile.cost is not None
    for section in (profile.array, profile.dac, profile.adc, *profile.adc.errors, profile.cost):
        assert section.source == "assumption: as in pcm-hermes-2023"


# What can be wrong with a file.

HEADER = "g_target_uS,g_measured_uS,time_s\n"
ENOUGH = "".join(f"{g},{g + i / 100},0\n" for g in (1, 5) for i in range(10))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "m.csv: the file is empty; it needs the columns g_target_uS, g_measured_uS, time_s"),
        ("# nothing\n\n", "m.csv: the file is empty"),
        (HEADER, "m.csv: there are no measurements below the header"),
        (
            "g_target_uS,g_mesured_uS,time_s\n1,1,0\n",
            "the column g_measured_uS is missing; the file has g_target_uS, g_mesured_uS, time_s; "
            "did you mean 'g_mesured_uS'? Choose it with --column g_measured_uS=\"g_mesured_uS\"",
        ),
        ("g_target_uS,g_measured_uS\n1,1\n", "the column time_s is missing; the file has"),
        (
            HEADER + "1,-2,0\n" + ENOUGH,
            "m.csv:2: g_measured_uS must be a finite number of 0 or more, not -2",
        ),
        (HEADER + ENOUGH + "1,-inf,0\n", "m.csv:22: g_measured_uS must be finite, not '-inf'"),
        (
            HEADER + "# note\n1,a bit,0\n" + ENOUGH,
            "m.csv:3: g_measured_uS must be a number, not 'a",
        ),
        (HEADER.strip() + ",time_s\n1,1,0,1\n", "2 columns may be time_s: 'time_s' (#3), 'time_s'"),
        (HEADER.strip() + ",cell\n1,1,0,a\n1,1,0, \n", "m.csv:3: cell is empty; add a name"),
        (HEADER + "1,-2,0\n" + ENOUGH, "subtract the offset of the readout"),
        (HEADER + "1,1\n" + ENOUGH, "m.csv:2: the line must have 3 values, not 2"),
        (HEADER + "1,1,0\n5,5,0\n", "1 cells were measured at 1 µS after 0 s; a spread needs at"),
        (HEADER + ENOUGH + "1,1,60\n", "1 cells were measured at 1 µS after 1 min"),
        (HEADER + "1,1,0\n" * 10, "the file has only one target (1 µS)"),
        (
            "g_target_uS,g_measured_uS,time_s,read\n1,1,0,1\n",
            "the column read requires a column cell",
        ),
    ],
)
def test_a_wrong_file_gets_one_clear_sentence(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "m.csv"
    path.write_text(text)
    with pytest.raises(cimsim.CimsimError) as caught:
        read_measurements(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("factor_target", "factor_measured", "message"),
    [
        (
            1e-6,
            1e-6,
            "the largest g_target_uS is 2.5e-05, which looks like siemens; use",
        ),
        (
            1e-3,
            1e-3,
            "the largest g_target_uS is 0.025, which looks like millisiemens; use",
        ),
        (1.0, 1e-6, "the largest g_measured_uS is"),
        (
            1e3,
            1e3,
            "which looks like nanosiemens; use --unit g_target_uS=nS",
        ),
        (1.0, 100.0, "g_measured_uS is 98 times g_target_uS, so their units seem to differ"),
    ],
)
def test_other_units_are_noticed(
    tmp_path: Path, factor_target: float, factor_measured: float, message: str
) -> None:
    table = truth.rows(0, cells=20)
    table[:, 0] *= factor_target
    table[:, 1] = np.abs(table[:, 1]) * factor_measured
    with pytest.raises(cimsim.CimsimError) as caught:
        read_measurements(truth.write(tmp_path / "m.csv", table))
    assert message in str(caught.value)


@pytest.mark.parametrize(("ratio", "unit"), [(1e3, "nS"), (1e-3, "mS"), (1e-6, "S")])
def test_a_column_in_another_unit_than_the_other_names_the_option_that_mends_it(
    tmp_path: Path, ratio: float, unit: str
) -> None:
    table = truth.rows(0, cells=20)
    expected = read_measurements(truth.write(tmp_path / "right.csv", np.abs(table)))
    table[:, 1] = np.abs(table[:, 1]) * ratio
    path = truth.write(tmp_path / "m.csv", table)
    with pytest.raises(cimsim.CimsimError, match=f"--unit g_measured_uS={unit}"):
        read_measurements(path)
    mended = read_measurements(path, Reading(units={"g_measured_uS": unit}))
    np.testing.assert_allclose(mended.measured_uS, expected.measured_uS, rtol=1e-6)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "not a CSV file of plain text"),
        (b"\xff\xfe\x00", "not a CSV file of plain text"),
        (b"PK\x03\x04", "an Excel workbook or another archive; save the sheet as CSV"),
        (b"\x1f\x8b\x08", "compressed by gzip; decompress it first"),
    ],
)
def test_a_file_that_is_no_text(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "m.csv").write_bytes(data)
    with pytest.raises(cimsim.CimsimError, match=message):
        read_measurements(tmp_path / "m.csv")


def test_a_file_that_is_not_there_or_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(cimsim.CimsimError, match="cannot be read"):
        read_measurements(tmp_path / "absent.csv")
    with pytest.raises(cimsim.CimsimError, match="cannot be read"):
        read_measurements(tmp_path)
    with pytest.raises(cimsim.CimsimError, match="not a regular file"):
        read_measurements(Path(os.devnull))


def test_other_columns_and_their_order_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    lines = [f"x,0,{g + i / 100},c{g}-{i},{g}" for g in (1, 5) for i in range(10)]
    path.write_text("operator, time_s ,g_measured_uS,cell,g_target_uS\n" + "\n".join(lines))
    found = read_measurements(path)
    assert found.cells == 20
    assert sorted(set(found.target_uS)) == [1, 5]
