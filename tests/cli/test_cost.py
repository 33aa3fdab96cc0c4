"""``cimsim cost`` on a small run, and without one."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cimsim.analysis.cost import STUDY

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained / "digital", tmp_path / "digital")


def test_a_table_and_files(cimsim: Command, run: Path, tmp_path: Path) -> None:
    code, out, err = cimsim("cost", run, "--out", tmp_path / "layers.csv")
    assert code == 0, err
    assert "One inference on pcm-ibm-2020; 1 MAC = 2 operations; prices: 8 generic" in out
    assert "All of the energy comes from generic prices." in out
    rows = [line.split("│")[1:-1] for line in out.splitlines() if line.startswith("│")]
    macs = f"{64 * 256:,}"  # 8 x 8 pixels to the first layer of the MLP
    assert macs in [cell.strip() for cell in rows[0]]
    assert "TOPS/W" in out
    assert out.splitlines()[-4:] == [
        str(run / "cost" / name) for name in ("cost.json", "cost.csv", "cost.png", "cost.svg")
    ]
    found = STUDY.read(run)
    assert found.inputs == 16
    assert found.profile == "pcm-ibm-2020"
    assert (run / "cost" / "cost.png").stat().st_size > 10_000
    lines = list(csv.DictReader((tmp_path / "layers.csv").read_text().splitlines()))
    assert float(lines[-1]["energy_pJ"]) == pytest.approx(found.energy_pJ.total)


def test_another_device_and_settings(cimsim: Command, run: Path) -> None:
    def facts(*options: str) -> dict[str, object]:
        code, out, err = cimsim("cost", run, "--json", *options)
        assert code == 0, err
        found: dict[str, object] = json.loads(out)
        return found

    fine, coarse = facts(), facts("--set", "adc.bits=6")
    assert coarse["overrides"] == ["adc.bits=6"]
    assert coarse["totals"]["energy_pJ"]["adc"] < fine["totals"]["energy_pJ"]["adc"]  # type: ignore[index]
    other = facts("--on", "reram-wan-2022", "--set", "cost.node_nm=65")
    assert other["profile"] == "reram-wan-2022"


def test_without_a_run(cimsim: Command) -> None:
    code, out, err = cimsim(
        "cost", "--profile", "generic-gaussian", "--model", "cnn", "--input", "1x28x28"
    )
    assert code == 0, err
    assert "uniform weights and inputs" in out
    assert "640,000" in out  # 25 x 25 places, 16 inputs, 64 outputs
    assert "note: generic-gaussian has no cost section" in err
    code, out, err = cimsim(
        "cost", "--profile", "pcm-ibm-2020", "--model", "gpt", "--input", "64", "--classes", "65"
    )
    assert code == 0, err
    assert "digital" in out  # the products of attention


UNTRAINED = ["--profile", "ideal", "--model", "mlp", "--input", "1x9x9"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--profile", "ideal"], "name a run, or set --profile, --model and --input"),
        (["--profile", "ideal", "--model", "cnn", "--input", "28by28"], "not '28by28'"),
        (["--profile", "ideal", "--model", "cnm", "--input", "1x9x9"], "did you mean 'cnn'"),
        (["nowhere"], "no such folder: nowhere"),
        (
            ["nowhere", "--model", "cnn"],
            "--model applies to a model without a run only; remove RUN",
        ),
        ([*UNTRAINED, "--inputs", "16"], "--inputs applies to a run only; name one"),
        ([*UNTRAINED, "--dpi", "100"], "--dpi applies to a figure, but none is drawn; leave it"),
        (["nowhere", "--out", "table.txt"], "written as CSV"),
    ],
)
def test_what_is_refused(cimsim: Command, options: list[str], message: str) -> None:
    code, _, err = cimsim("cost", *options)
    assert code == 2
    assert message in err
    assert len(err.splitlines()) == 1


def test_a_set_key_that_does_not_exist(cimsim: Command, run: Path) -> None:
    code, _, err = cimsim("cost", run, "--set", "cost.nodes_nm=7")
    assert code == 2
    assert "did you mean 'node_nm'" in err
    assert not (run / "cost").exists()


def test_layers_on_devices_of_their_own_cost_what_those_do(cimsim: Command, tmp_path: Path) -> None:
    """The layer that training left on four bits has an ADC of four bits, the others of eight."""
    run = tmp_path / "mixed"
    options = ["--data", "digits", "--epochs", 1, "--limit", 64, "--layer", "hidden2:adc.bits=4"]
    code, _, err = cimsim("train", "--profile", "pcm-hermes-2023", *options, "--out", run)
    assert code == 0, err
    of = {}
    for changes in ((), ("--set", "adc.bits=8")):
        code, out, err = cimsim("cost", run, "--json", *changes)
        assert code == 0, err
        of[changes] = {
            layer["name"]: layer["energy_pJ"]["adc"] for layer in json.loads(out)["layers"]
        }
    mixed, alike = of.values()
    assert mixed["hidden2"] < 0.5 * alike["hidden2"]
    assert mixed["hidden1"] == alike["hidden1"]
