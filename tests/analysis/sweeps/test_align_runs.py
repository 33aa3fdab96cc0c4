from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from cimsim.analysis.sweeps.align_runs import align_runs, choose_axis
from cimsim.analysis.sweeps.store import FileStore, Plan, sweep_folder
from cimsim.errors import CimsimError
from tests.subjects import trial

PLAN = Plan(
    run="r",
    profile="pcm",
    axis="noise",
    levels=(0.0, 1.0),
    chips=2,
    digital_scores={"accuracy": 0.97},
    basis="b1",
    checkpoint_sha256="c1",
    data="digits",
    device="cpu",
    cimsim="0.1.0",
)


def swept(run: Path, accuracy: float = 0.9, cells: int | None = None, **changes: object) -> Path:
    """A run that holds the first ``cells`` cells of a sweep; chip n is n percent worse."""
    plan = replace(PLAN, **changes)  # type: ignore[arg-type]
    with FileStore(sweep_folder(run, plan.axis), plan) as store:
        store.start()
        for basis, level, chip in islice(plan.keys(), cells):
            store.append(trial(basis, level, chip, accuracy - chip / 100, 1.0))
        store.finish()
    return run


def test_runs_stand_side_by_side(tmp_path: Path) -> None:
    runs = [
        swept(tmp_path / "a", 0.9),
        swept(tmp_path / "b", 0.8, digital_scores={"accuracy": 0.95}),
    ]
    found = align_runs(runs, ["c1", "c1"], "noise")
    assert [curve.label for curve in found.curves] == ["a", "b"]
    assert [curve.digital for curve in found.curves] == [0.97, 0.95]
    assert [curve.points[0].mean for curve in found.curves] == pytest.approx([0.895, 0.795])
    assert found.remarks == ()


def test_only_chips_that_every_run_has_are_drawn(tmp_path: Path) -> None:
    runs = [swept(tmp_path / "a", chips=4), swept(tmp_path / "b", chips=2)]
    found = align_runs(runs, ["c1", "c1"], "noise")
    assert {point.chips for curve in found.curves for point in curve.points} == {2}
    assert found.curves[0].points == found.curves[1].points
    assert found.remarks == ("only chips 0 to 1 are drawn, with which every run was swept",)


def test_cells_of_a_changed_checkpoint_never_mix(tmp_path: Path) -> None:
    run = swept(tmp_path / "a", 0.1)
    with pytest.raises(CimsimError, match="not the one that was swept over noise"):
        align_runs([run], ["c2"], "noise")
    swept(run, 0.9, basis="b2", checkpoint_sha256="c2")
    means = [point.mean for point in align_runs([run], ["c2"], "noise").curves[0].points]
    assert means == pytest.approx([0.895, 0.895])


def test_the_last_sweep_decides_what_is_drawn(tmp_path: Path) -> None:
    run = swept(tmp_path / "a", chips=3, levels=(0.0, 5.0))
    swept(run, chips=2, levels=(0.0, 1.0))
    points = align_runs([run], ["c1"], "noise").curves[0].points
    assert [(point.level, point.chips) for point in points] == [(0.0, 2), (1.0, 2)]


def test_unfinished_levels_are_left_out_and_told(tmp_path: Path) -> None:
    found = align_runs([swept(tmp_path / "a", cells=3)], ["c1"], "noise")
    assert [point.level for point in found.curves[0].points] == [0.0]
    assert "1 of 2 levels are not finished" in found.remarks[0]


def test_an_unfinished_level_counts_if_it_has_the_chips_of_the_other_runs(tmp_path: Path) -> None:
    runs = [swept(tmp_path / "a", cells=1, levels=(0.0,)), swept(tmp_path / "b", chips=1)]
    assert align_runs(runs, ["c1", "c1"], "noise").curves[0].points[0].chips == 1


def test_nothing_finished_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(CimsimError, match="no level of its sweep over noise is finished"):
        align_runs([swept(tmp_path / "a", cells=1)], ["c1"], "noise")


def test_different_circumstances_are_told(tmp_path: Path) -> None:
    runs = [
        swept(tmp_path / "a", profile="pcm", data="digits", device="cpu"),
        swept(tmp_path / "b", profile="reram", data="mnist", device="cuda"),
    ]
    found = align_runs(runs, ["c1", "c1"], "noise")
    assert [curve.label for curve in found.curves] == ["a (pcm, digits)", "b (reram, mnist)"]
    assert any("different device: cpu, cuda" in remark for remark in found.remarks)


def test_the_axis_is_found(tmp_path: Path) -> None:
    a, b = swept(tmp_path / "a"), swept(tmp_path / "b")
    assert choose_axis([a, b], None) == "noise"
    swept(a, axis="time")
    assert choose_axis([a, b], None) == "noise"
    assert choose_axis([a], "time") == "time"


def test_axes_that_leave_a_choice_are_told(tmp_path: Path) -> None:
    a, b = swept(tmp_path / "a"), swept(tmp_path / "b", axis="adc.bits")
    with pytest.raises(CimsimError, match="no axis over which every run was swept"):
        choose_axis([a, b], None)
    with pytest.raises(CimsimError, match=r"b: was not swept over noise, but over adc\.bits"):
        choose_axis([a, b], "noise")
    swept(a, axis="time")
    with pytest.raises(CimsimError, match="over noise, time; choose one, such as --over noise"):
        choose_axis([a], None)
    with pytest.raises(CimsimError, match="was never swept; run `cimsim sweep"):
        choose_axis([a, tmp_path], None)
