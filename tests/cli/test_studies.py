"""``cimsim map``, ``tolerance``, ``life``, ``yield``, and the further kinds of ``budget``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained / "digital", tmp_path / "digital")


def rows(out: str) -> list[list[str]]:
    lines = [line for line in out.splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines]


def files_in(out: str) -> list[Path]:
    """The files that a command wrote, which are its last lines."""
    return [Path(line) for line in out.splitlines()[-4:]]


def facts_of(out: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(out)["facts"]
    return found


def test_a_map(cimsim: Command, run: Path) -> None:
    axes = ["--x", "noise=0,8", "--y", "adc.bits=ideal,2", "--lines", "80,3", "--chips", 2]
    code, out, err = cimsim("map", run, *axes, "--age", "1d")
    assert code == 0, err
    assert "Test accuracy in %, 2 chips, 1 d after programming; digital" in " ".join(out.split())
    assert [row[0] for row in rows(out)] == ["ideal", "2"]
    assert "the whole map is on one side of 3.00; that contour is not drawn" in err
    files = files_in(out)
    assert {path.suffix for path in files} == {".json", ".csv", ".png", ".svg"}
    assert {path.parent for path in files} == {run / "maps" / "noise-by-adc.bits"}
    again = cimsim("map", run, *axes, "--age", "1d", "--json")
    assert "finished before: 8 of 8 trials" in again[2]
    assert facts_of(again[1])["age_s"] == 86400.0


@pytest.mark.usefixtures("forked_workers")
def test_two_workers_give_the_map_of_one(cimsim: Command, run: Path, tmp_path: Path) -> None:
    other = shutil.copytree(run, tmp_path / "other")
    axes = ["--x", "noise=0,8", "--y", "time=1s,1d", "--chips", 1, "--json"]
    one = cimsim("map", run, *axes)
    two = cimsim("map", other, *axes, "--workers", 2)
    assert one[0] == two[0] == 0, two[2]
    assert json.loads(one[1])["summaries"] == json.loads(two[1])["summaries"]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--x", "noise=0,1", "--y", "noise=2,3"], "both axes are noise"),
        (["--x", "noise=0,1", "--y", "adc.bits=8", "--lines", "high"], "--lines must be numbers"),
        (["--x", "noise=0,1", "--y", "adc.bit=8"], "adc.bit=8"),
    ],
)
def test_a_map_that_cannot_be(cimsim: Command, run: Path, options: list[str], text: str) -> None:
    code, _, err = cimsim("map", run, *options, "--chips", 1)
    assert code == 2
    assert text in err
    assert not (run / "maps").exists()


def test_a_tolerance(cimsim: Command, run: Path) -> None:
    code, out, err = cimsim("tolerance", run, "--over", "adc.bits", "--within", 5, "--chips", 2)
    assert code == 0, err
    assert "stays within 5 points of the digital" in out
    assert "down to adc.bits" in out
    assert {row[3] for row in rows(out)} == {"yes", "no"}
    assert {path.suffix for path in files_in(out)} == {".json", ".csv", ".png", ".svg"}
    code, _, err = cimsim("tolerance", run, "--over", "cell.g_max_uS")
    assert code == 2
    assert "the axis cell.g_max_uS has no default range; add --from LEVEL --to LEVEL" in err


def test_budgets_of_three_kinds_share_their_cells(cimsim: Command, run: Path) -> None:
    common = ["--chips", 1, "--noise", 8]
    code, out, err = cimsim("budget", run, "--shapley", *common)
    assert code == 0, err
    shares = [float(row[1]) for row in rows(out)]
    assert shares[-1] == pytest.approx(sum(shares[:-1]), abs=0.03)  # two decimals of each
    code, out, err = cimsim("budget", run, "--waterfall", *common)
    assert code == 0, err
    assert "finished before: 6 of 6 trials" in err
    assert rows(out)[1][0] == "+ programming noise"
    assert "finished before: 12 of 12 trials" in cimsim("budget", run, *common)[2]
    code, out, err = cimsim("budget", run, "--shapley", "--orders", 4, *common)
    assert code == 0, err
    assert len(rows(out)[0]) == 3  # with the error of the draws
    kept = {path.name.partition("_")[0] for path in (run / "budget").glob("*.svg")}
    assert kept == {"budget", "waterfall", "shapley"}


def test_budget_options_that_exclude_each_other(cimsim: Command, run: Path) -> None:
    code, _, err = cimsim("budget", run, "--shapley", "--waterfall")
    assert (code, "cannot be combined" in err) == (2, True)
    code, _, err = cimsim("budget", run, "--orders", 4)
    assert (code, "--orders applies to --shapley only" in err) == (2, True)


def test_a_life(cimsim: Command, run: Path) -> None:
    code, out, err = cimsim("life", run, "--points", 2, "--chips", 1)
    assert code == 0, err
    own = "compensated per layer (as in the profile)"
    kinds = own, "without compensation", "ranges measured again"
    for name in kinds:
        assert name in out
    assert [row[0] for row in rows(out)] == ["1 s", "10 y"]
    assert (run / "life" / "life.png").stat().st_size > 10_000
    code, _, err = cimsim("life", run, "--on", "mismatch")
    assert code == 2
    assert "mismatch has neither drift nor read noise that grows with age" in err
    assert "Traceback" not in err
    code, _, err = cimsim("life", run, "--budget", 5)
    assert (code, "--budget applies to --care only; add it" in err) == (2, True)


def test_a_yield(cimsim: Command, run: Path) -> None:
    code, out, err = cimsim("yield", run, "--above", 50, "--chips", 4, "--noise", 8)
    assert code == 0, err
    assert "of 4 chips" in out
    assert "95 % interval" in out
    assert [row[0] for row in rows(out)] == ["1", "5", "25", "50", "75", "95", "99"]
    found = json.loads(cimsim("yield", run, "--above", 5, "--chips", 4, "--noise", 8, "--json")[1])
    assert found["passing"]["count"] == 4
    assert len(found["values"]) == 4
    _, _, err = cimsim("yield", run, "--above", 5, "--chips", 24, "--noise", 8)
    told = [line.partition("digital: ")[2] for line in err.splitlines()]
    assert [int(text.split()[0]) for text in told if text] == [10, 20, 24]
    for options, thresholds in ((), "no"), (("--above", 90, "--below", 20), "two"):
        code, _, err = cimsim("yield", run, *options)
        assert code == 2
        assert f"{thresholds} threshold" in err
        assert "use --above" in err


FRACTIONS = [
    ("yield", "--above", "0.9"),
    ("map", "--x", "noise=0,1", "--y", "adc.bits=8,6", "--lines", "80,0.9"),
]


@pytest.mark.parametrize("words", FRACTIONS, ids=lambda words: words[0])
def test_a_fraction_where_percent_is_meant(cimsim: Command, run: Path, words: list[str]) -> None:
    name, *options = words
    code, out, err = cimsim(name, run, *options, "--chips", 1)
    assert (code, out) == (2, "")
    assert "0.9 is 0.9 %, because accuracy is in %; write 90 for the fraction 0.9" in err
    assert not list(run.glob(f"{name}*/**/results*.jsonl"))


@pytest.mark.parametrize("words", [("tolerance", "--over", "noise"), ("advise",)], ids=" ".join)
def test_a_loss_that_no_model_can_have(cimsim: Command, run: Path, words: tuple[str, ...]) -> None:
    code, out, err = cimsim(words[0], run, *words[1:], "--within", 101, "--chips", 1)
    assert (code, out) == (2, "")
    assert "must be from 0 to 100 points, not 101" in err


@pytest.mark.filterwarnings("default::cimsim.errors.CimsimWarning")
def test_more_samples_than_there_are_are_all_of_them(cimsim: Command, run: Path) -> None:
    """They are the same trials, under the same name."""
    options = ("--above", 50, "--chips", 2, "--json")
    code, printed, err = cimsim("yield", run, *options, "--samples", 100_000)
    assert code == 0
    note = (
        "cimsim: note: digital: all 360 test samples are used, because there are fewer than 100000"
    )
    assert [line for line in err.splitlines() if "note" in line] == [note]
    again, err = cimsim("yield", run, *options)[1:]
    assert again == printed
    assert "finished before: 2 of 2 trials" in err
    assert "note" not in err
