from __future__ import annotations

import csv
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.children import ended, wait_until
from tests.cli.conftest import Forks

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def runs(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two runs of this test's own, in the working folder."""
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(trained, tmp_path / "runs")


def test_a_sweep_ends_with_a_table(cimsim: Command, runs: Path) -> None:
    code, out, err = cimsim(
        "sweep",
        "runs/digital",
        "runs/aware",
        "--over",
        "noise=0:2:1",
        "--chips",
        2,
        "--out",
        "all.csv",
    )
    assert code == 0
    assert "finished before: 0 of 12 trials" in err
    assert "aware, noise=2: 12 of 12 trials" in err
    rows = [line.split("│")[1:-1] for line in out.splitlines() if line.startswith("│")]
    cells = [[cell.strip() for cell in row] for row in rows]
    assert [row[0] for row in cells] == ["digital", "", "", "aware", "", ""]
    assert [row[1] for row in cells] == ["0", "1", "2"] * 2
    assert all(" ± " in row[2] for row in cells)
    with Path("all.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) == 12
    digital = [row for row in table if row["run"] == "digital" and row["level"] == "1.0"]
    mean = sum(float(row["accuracy"]) for row in digital) / 2
    assert cells[1][2].startswith(f"{100 * mean:.2f}")
    assert cells[1][3] == f"{100 * min(float(row['accuracy']) for row in digital):.2f}"
    assert cells[0][4] == f"{100 * float(digital[0]['digital_accuracy']):.2f}"


def test_runs_meet_the_same_chips_however_they_are_swept(cimsim: Command, runs: Path) -> None:
    shutil.copytree(runs / "digital", runs / "twin")
    cimsim("sweep", "runs/digital", "runs/aware", "--over", "noise=2", "--chips", 2)
    cimsim("sweep", "runs/twin", "--over", "noise=2", "--chips", 2)
    one, two = (
        (runs / name / "sweeps/noise/results.csv").read_text().split("\n", 1)[1]
        for name in ("digital", "twin")
    )
    assert one == two.replace("twin", "digital")


def test_swept_runs_are_drawn_in_one_figure(cimsim: Command, runs: Path) -> None:
    cimsim("sweep", "runs/digital", "runs/aware", "--over", "noise=0,2", "--chips", 2)
    code, out, err = cimsim("plot", "runs/digital", "runs/aware")
    assert (code, out, err) == (0, "accuracy_vs_noise.png\naccuracy_vs_noise.svg\n", "")
    assert Path("accuracy_vs_noise.png").stat().st_size > 10_000
    svg = Path("accuracy_vs_noise.svg").read_text()
    assert "digital" in svg
    assert "aware" in svg


def test_sweeps_of_held_out_samples_are_drawn(cimsim: Command, runs: Path) -> None:
    settings = ("--data", "digits", "--limit", 200, "--epochs", 1, "--hold-out", 0.2)
    cimsim("train", "--profile", "pcm-ibm-2020", *settings, "--out", "runs/held")
    cimsim("sweep", "runs/held", "--over", "noise=0,2", "--chips", 2, "--split", "held-out")
    code, out, err = cimsim("plot", "runs/held", "--split", "held-out", "--format", "svg")
    assert (code, out, err) == (0, "accuracy_vs_noise.svg\n", "")
    assert "Held-out accuracy" in Path("accuracy_vs_noise.svg").read_text()
    code, _, err = cimsim("plot", "runs/held")
    assert code == 2
    assert "never swept" in err


def test_several_axes_do_not_collide(cimsim: Command, runs: Path) -> None:
    cimsim("sweep", "runs/digital", "--over", "noise=0,2", "--chips", 2)
    cimsim("sweep", "runs/digital", "--over", "adc.bits=ideal,4", "--chips", 2)
    cimsim("sweep", "runs/digital", "--over", "time=1s,1h,1y", "--chips", 2)
    code, out, err = cimsim("plot", "runs/digital")
    assert (code, out) == (2, "")
    assert "adc.bits, noise, time; choose one, such as --over adc.bits" in err
    for axis in ("noise", "adc.bits", "time"):
        code, out, _ = cimsim("plot", "runs/digital", "--over", axis, "--out", f"new/{axis}.png")
        assert (code, out) == (0, f"new/{axis}.png\nnew/{axis}.svg\n")


def test_a_run_named_twice_is_one_run(cimsim: Command, runs: Path) -> None:
    _, out, err = cimsim(
        "sweep",
        "runs/digital",
        "runs/digital/",
        "runs/../runs/digital",
        "--over",
        "noise=1",
        "--chips",
        1,
    )
    assert "1 of 1 trials" in err
    assert out.count("digital │") == 1


def test_runs_of_the_same_name_are_told_apart(cimsim: Command, runs: Path) -> None:
    shutil.copytree(runs / "digital", runs / "other" / "digital")
    _, out, _ = cimsim(
        "sweep", "runs/digital", "runs/other/digital", "--over", "noise=1", "--chips", 1
    )
    assert "runs/digital" in out
    assert "other/digital" in out


def test_a_level_that_changes_nothing_is_told(cimsim: Command, runs: Path) -> None:
    _, _, err = cimsim(
        "sweep", "runs/digital", "--over", "array.drift_compensation=global,none", "--chips", 2
    )
    assert "digital: every level of array.drift_compensation gives the same results" in err


def test_a_run_that_was_trained_again_must_be_swept_again(cimsim: Command, runs: Path) -> None:
    cimsim("sweep", "runs/digital", "--over", "noise=1", "--chips", 1)
    shutil.copy(runs / "aware" / "model.safetensors", runs / "digital")
    (runs / "digital" / "SHA256SUMS").unlink()  # which would call that damage
    code, _, err = cimsim("plot", "runs/digital")
    assert code == 2
    assert "not the one that was swept over noise" in err


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["sweep", "nowhere", "--over", "noise=1"], "no such folder: nowhere"),
        (["sweep", "runs", "--over", "noise=1"], "runs is not a run"),
        (["sweep", "runs/digital", "--over", "nois=1"], "did you mean 'noise'?"),
        (["sweep", "runs/digital", "--over", "noise=2:0:1"], "the step 1 leads away from 0"),
        (["sweep", "runs/digital", "--over", "noise=-1"], "cannot be negative"),
        (["sweep", "runs/digital", "--over", "time=1x"], "is not a duration"),
        (["sweep", "runs/digital", "--over", "adc.bits=0"], "adc.bits=0: must be"),
        (["sweep", "runs/digital", "--over", "adc.bit=4"], "did you mean 'bits'?"),
        (["sweep", "runs/digital", "--over", "noise=1", "--out", "all.txt"], "ending in .csv"),
        (["sweep", "runs/digital", "--over", "noise=1", "--out", "no/all.csv"], "no folder no"),
        (["sweep", "runs/digital", "--over", "noise=1", "--device", "gpu"], "choose cpu, cuda"),
        (["sweep", "runs/digital", "--over", "noise=1", "--device", "meta"], "choose cpu, cuda"),
        (["plot", "runs/digital"], "never swept; run `cimsim sweep runs/digital --over"),
        (["plot", "nowhere"], "no such folder: nowhere"),
        (["plot", "runs/digital", "runs"], "runs is not a run"),
    ],
)
def test_bad_input_is_one_clear_sentence(
    cimsim: Command, runs: Path, args: list[str], told: str
) -> None:
    code, out, err = cimsim(*args)
    assert (code, out) == (2, "")
    assert err.startswith("cimsim: error: ")
    assert told in err
    assert err.count("\n") == 1
    assert not (runs / "digital" / "sweeps").exists()


def wait_for_cells(results: Path, count: int) -> None:
    def held() -> bool:
        return results.is_file() and results.read_bytes().count(b"\n") >= count

    wait_until(held, f"{count} cells in {results}")


SWEEP = ("sweep", "digital", "aware", "--over", "noise=0:2:0.1", "--chips", "3", "--device", "cpu")


def test_a_killed_sweep_goes_on_to_the_same_table(
    fork: Forks,
    cimsim: Command,
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    straight = shutil.copytree(trained, tmp_path / "straight")
    killed = shutil.copytree(trained, tmp_path / "killed")
    monkeypatch.chdir(straight)
    expected = cimsim(*SWEEP, "--out", "all.csv")
    for run, cells in (("digital", 4), ("aware", 7)):
        with fork(*SWEEP, "--out", "all.csv", cwd=killed) as process:
            wait_for_cells(killed / run / "sweeps/noise/results.jsonl", cells)
            process.kill()
            ended(process)
        assert process.returncode == -signal.SIGKILL
    assert not (killed / "all.csv").exists()
    results = killed / "aware/sweeps/noise/results.jsonl"
    results.write_bytes(results.read_bytes()[:-20])
    monkeypatch.chdir(killed)
    code, out, err = cimsim(*SWEEP, "--out", "all.csv")
    assert code == 0
    assert "finished before: 0 of" not in err
    assert out == expected[1]
    assert (killed / "all.csv").read_bytes() == (straight / "all.csv").read_bytes()
    for name in ("results.csv", "results.jsonl"):
        one, two = (folder / "aware/sweeps/noise" / name for folder in (straight, killed))
        assert one.read_bytes() == two.read_bytes()


def test_a_second_sweep_is_kept_out_and_ctrl_c_says_how_to_go_on(
    fork: Forks,
    cimsim: Command,
    runs: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(runs)
    with fork(*SWEEP, cwd=runs) as process:
        wait_for_cells(runs / "digital/sweeps/noise/results.jsonl", 2)
        process.send_signal(signal.SIGSTOP)
        code, out, err = cimsim(*SWEEP)
        process.send_signal(signal.SIGCONT)
        process.send_signal(signal.SIGINT)
        _, told = ended(process)
    assert (code, out) == (2, "")
    assert "another `cimsim sweep` is writing" in err
    assert process.returncode == 130, told
    assert "interrupted; finished trials are kept, run the same command again to resume" in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--shard", "half"], "--shard must be a part and the number of parts"),
        (["--shard", "3/2"], "there is no part 3 of 2"),
        (["--engine", "slurm"], "--engine must be local or ray"),
        (["--address", "auto"], "--address applies to --engine ray only"),
        (["--engine", "ray", "--workers", "2"], "--workers applies to --engine local only"),
        (["--metric", "acuracy"], "did you mean 'accuracy'"),
        (["--metric", "f1"], "but the model is scored by accuracy, loss; choose one of these"),
    ],
)
def test_bad_engines_and_parts_are_told(
    cimsim: Command, trained: Path, args: list[str], message: str
) -> None:
    done = cimsim("sweep", trained / "digital", "--over", "noise=0", *args)
    assert done.code == 2
    assert message in done.err


def test_a_part_of_a_sweep_shows_no_table(cimsim: Command, trained: Path, tmp_path: Path) -> None:
    run = shutil.copytree(trained / "digital", tmp_path / "digital")
    wanted = ("sweep", run, "--over", "noise=0,1", "--chips", 1)
    done = cimsim(*wanted, "--shard", "1/2")
    assert done.out == ""
    assert "part 1/2 is finished, 1 trials of other parts are not;" in done.err
    assert "Test accuracy" in cimsim(*wanted, "--shard", "2/2").out
    assert "Test accuracy" in cimsim(*wanted, "--workers", 2).out  # which have nothing to do


def test_other_devices_for_some_layers(cimsim: Command, trained: Path, tmp_path: Path) -> None:
    run = shutil.copytree(trained / "digital", tmp_path / "run")
    options = ["--over", "noise=8", "--chips", 2]
    _, plain, _ = cimsim("sweep", run, *options)
    layers = ["--layer", "hidden*:digital", "--layer", "classifier:adc.bits=10"]
    code, out, err = cimsim("sweep", run, *options, *layers)
    assert code == 0, err
    assert out != plain
    assert cimsim("sweep", run, *options)[1] == plain
    code, out, err = cimsim("sweep", run, *options, "--layer", "hidden3:digital")
    assert (code, out) == (2, "")
    assert "unknown layer 'hidden3'; did you mean 'hidden" in err
    assert err.count("\n") == 1


@pytest.mark.usefixtures("forked_workers")
@pytest.mark.parametrize("how", [("--workers", 2), ("--shard", "1/2")])
def test_progress_counts_all_cells_and_says_how_fast(
    cimsim: Command, trained: Path, tmp_path: Path, how: tuple[object, ...]
) -> None:
    run = shutil.copytree(trained / "digital", tmp_path / "digital")
    told = cimsim("sweep", run, "--over", "noise=0,1,2", "--chips", 3, *how)[2].splitlines()
    part, total = ("part 1/2, ", 5) if how[0] == "--shard" else ("", 9)
    lines = [line for line in told if " trials" in line and "note" not in line]
    explained = "(a trial is one chip at one level)"
    assert lines[0] == f"{part}finished before: 0 of {total} trials {explained}"
    assert [int(line.split(": ")[1].split()[0]) for line in lines[1:]] == [
        *range(3, total, 3),
        total,
    ]
    assert all(line.startswith(f"{part}digital, noise=") for line in lines[1:])
    assert lines[-1].endswith("0:00:00 left")
    assert "trials/s" in lines[-1]


def test_found_cells_do_not_count_as_speed(capsys: pytest.CaptureFixture[str]) -> None:
    from cimsim.cli import progress

    now = iter([0.0, 10.0, 10.0, 14.0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cimsim.cli.progress.time.monotonic", lambda: next(now))
        watch = progress.Trials("sweep", progress.progress_bar("{task.fields[rate]}"), 2, "")
        watch(50, 100, "finished before")
        watch(52, 100, "a, noise=1")
    assert capsys.readouterr().err.splitlines() == [
        "finished before: 50 of 100 trials (a trial is one chip at one level)",
        "a, noise=1: 52 of 100 trials, 0.5 trials/s, 0:01:36 left",
    ]
