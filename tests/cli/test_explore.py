"""``cimsim explore``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.cli.conftest import Command


def test_it_shows_the_front_and_keeps_it(cimsim: Command, trained: Path, tmp_path: Path) -> None:
    run = shutil.copytree(trained / "digital", tmp_path / "run")
    options = ["--over", "adc.bits=3,6", "--over", "array.rows=32,64", "--chips", 1]
    code, out, err = cimsim("explore", run, *options, "--final-chips", 1)
    assert code == 0, err
    assert "4 of 4 designs were evaluated" in out
    assert "energy (nJ)" in out
    kept = (run / "explore").glob("explore_*")
    assert {path.suffix for path in kept} == {".json", ".csv", ".png", ".svg"}
    code, out, err = cimsim("explore", run, *options, "--final-chips", 1, "--json")
    assert len(json.loads(out)["points"]) == 4


def test_bad_input_is_one_sentence(cimsim: Command, trained: Path) -> None:
    run = trained / "digital"
    for options, told in (
        (["--over", "time=1s,1d"], "time is not part of a design"),
        (["--over", "adc.bits=4,8", "--cost", "price"], "unknown cost 'price'"),
        (["--over", "adc.bits=4,8", "--on", "pcmm"], "pcmm"),
    ):
        code, out, err = cimsim("explore", run, *options)
        assert (code, out) == (2, "")
        assert told in err
        assert err.count("\n") == 1
