"""What a notebook shows of profiles, models, runs and results."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from torch import nn

import cimsim
from cimsim.analysis.studies.budget import Budget, ErrorShare
from cimsim.analysis.study import Facts
from cimsim.analysis.sweeps.result import SweepResult
from cimsim.analysis.sweeps.stats import summary
from cimsim.analysis.sweeps.store import Plan, Sweep
from cimsim.markup import folded, sparkline, table
from cimsim.training.config import make_config
from cimsim.training.run import Run
from tests.subjects import trial

NASTY = "<script>alert(1)</script>&"


def parsed(html: str) -> ElementTree.Element:
    """The elements of ``html``, every one of which is closed."""
    return ElementTree.fromstring(f"<div>{html}</div>")


def cells(html: str) -> list[list[str]]:
    return [["".join(cell.itertext()) for cell in row] for row in parsed(html).iter("tr")]


def test_every_text_is_escaped() -> None:
    html = table([NASTY, "b"], [[NASTY, "1"]], NASTY, [1]) + folded(NASTY, "")
    assert "<script" not in html + sparkline([1.0], NASTY)
    assert cells(html) == [[NASTY, "b"], [NASTY, "1"]]
    scopes = [cell.get("scope") for cell in parsed(html).iter("th")]
    assert scopes == ["col", "col", "row"]


def test_a_sparkline_falls_from_its_top_to_its_bottom() -> None:
    line = parsed(sparkline([3.0, 2.0, 1.0], "falls")).find(".//polyline")
    assert line is not None
    assert line.get("points") == "0.0,2.0 60.0,12.0 120.0,22.0"
    assert "0.0,22.0" in sparkline([5.0], "one")


def test_a_profile_shows_each_number_with_its_source() -> None:
    html = cimsim.load_profile("pcm-ibm-2020")._repr_html_()
    (row,) = [row for row in cells(html) if row[0] == "g_max_uS"]
    assert row[1] == "25 µS"
    assert "2020" in row[3] or "Joshi" in row[3]


def test_a_summary_shows_its_table() -> None:
    found = cimsim.summary(cimsim.convert(nn.Linear(8, 4), "pcm-ibm-2020"))
    rows = cells(found._repr_html_())
    assert [" ".join(row).split() for row in rows] == [
        line.split() for line in str(found).splitlines()
    ]


def plan_of(axis: str, levels: tuple[float, ...]) -> Plan:
    facts = dict.fromkeys(("basis", "checkpoint_sha256", "data", "device", "cimsim"), "x")
    return Plan(
        run=NASTY,
        profile="p",
        axis=axis,
        levels=levels,
        chips=2,
        digital_scores={"accuracy": 0.9},
        **facts,
    )


def test_a_sweep_shows_its_figure_and_numbers() -> None:
    plan = plan_of("noise", (0.0, 1.0))
    scores = {0.0: (0.9, 0.8), 1.0: (0.7, 0.5)}
    found = tuple(trial("x", k, i, a, 1.0) for k, of in scores.items() for i, a in enumerate(of))
    html = shown(Sweep(plan, found))
    assert "<script" not in html
    assert parsed(html).find(".//svg") is not None
    assert [row[1] for row in cells(html)[1:]] == ["0", "1"]
    assert [row[2][:5] for row in cells(html)[1:]] == ["85.00", "60.00"]
    assert cells(html)[2][3] == "50.00"


def shown(sweep: Sweep) -> str:
    return SweepResult((NASTY,), (sweep,))._repr_html_()


def test_a_budget_shows_its_shares() -> None:
    def of(*values: float) -> object:
        return summary("x", values)

    share = ErrorShare("drift", of(0.8, 0.9), of(0.5), of(0.1), of(0.2))  # type: ignore[arg-type]
    facts = Facts("run", "pcm", 1.0, "digits", "", 2, 0.0, "accuracy", "", 0.95)
    budget = Budget(facts, of(0.4), of(0.95), (share,))  # type: ignore[arg-type]
    rows = cells(budget._repr_html_())
    assert [row[0] for row in rows] == ["non-ideality", "none", "drift", "all"]
    lost, gained, alone, rest = rows[2][1:]
    assert alone.startswith("85.00 ± ")
    assert (lost, gained, rest) == ("10.00", "20.00", "50.00")
    assert rows[3][1:4] == ["55.00", "", "40.00"]


@pytest.mark.parametrize("losses", [[], [2.0, 1.0]])
def test_a_run_shows_what_was_trained(losses: list[float], tmp_path: Path) -> None:
    lines = [
        json.dumps({"epoch": epoch, "train_loss": loss, "train_accuracy": 0.5})
        for epoch, loss in enumerate(losses, start=1)
    ]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines))
    scores = {"digital_accuracy": 0.9, "digital_loss": 0.3, "chip_accuracy": 0.8, "chip_loss": 0.5}
    run = Run(tmp_path, make_config(profile="ideal"), cimsim.load_profile("ideal"), {}, scores)
    rows = dict(cells(run._repr_html_()))
    assert rows["on one chip"] == "test accuracy 80.00 %, loss 0.5000"
    assert ("training loss from 2.0000 to 1.0000" in run._repr_html_()) == bool(losses)
