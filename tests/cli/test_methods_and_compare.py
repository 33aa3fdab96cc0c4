"""``cimsim methods`` and ``cimsim compare``."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cli.conftest import Command


def test_every_part_is_listed_and_told(cimsim: Command) -> None:
    code, out, _ = cimsim("methods")
    assert code == 0
    for name in ("noise-aware", "denoising", "lotion-device", "fogzo", "robust", "psa"):
        assert name in out
    code, out, _ = cimsim("methods", "denoising")
    assert code == 0
    assert "quantizer denoising (--quantize-weights, --quantize-inputs)" in out
    assert "arXiv:2409.09245" in out
    assert "  ridge=0.01" in out
    for rule in ("F", "programmed-mean"):
        code, out, _ = cimsim("methods", rule)
        assert "backward rule F, programmed-mean (--rule)" in out
    code, out, _ = cimsim("methods", "a1w1")
    assert "--quantize-weights denoising:bits=1" in out


def test_no_markup_is_printed(cimsim: Command) -> None:
    """Docstrings are reStructuredText, which a terminal does not render."""
    for name in ("lotion-device", "ternary", "psa", "C"):
        out = cimsim("methods", name)[1]
        assert "``" not in out
        assert not re.search(r":\w+:`", out)
    assert "Like Lotion, with" in cimsim("methods", "lotion-device")[1]
    assert "Settings:" not in cimsim("methods", "C")[1]


def test_an_unknown_part_is_suggested(cimsim: Command) -> None:
    code, _, err = cimsim("methods", "lotions")
    assert code == 2
    assert "did you mean 'lotion'" in err


def test_a_comparison_is_a_table_a_figure_and_goes_on(cimsim: Command, tmp_path: Path) -> None:
    out_dir = tmp_path / "cmp"
    command = ["compare", "--profile", "pcm-ibm-2020", "--methods", "digital,noise-aware+rule=C"]
    command += ["--over", "noise=0,4", "--chips", "2", "--epochs", "1", "--out", str(out_dir)]
    code, out, err = cimsim(*command)
    assert code == 0, err
    assert "noise-aware+rule=C" in out
    files = {path.name for path in out_dir.iterdir()}
    assert {"comparison.csv", "comparison.md", "comparison.png", "comparison.svg"} <= files
    again = cimsim(*command)
    assert again[0] == 0
    assert again[1] == out
    assert "already finished" in again[2]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "there is nothing to compare"),
        (["--methods", "digtal"], "did you mean 'digital'"),
        (["--methods", "digital", "--seeds", "a"], "--seeds must be whole numbers"),
        (["--methods", "digital", "--over", "noise"], "noise"),
    ],
)
def test_what_is_wrong_is_told(
    cimsim: Command, tmp_path: Path, more: list[str], message: str
) -> None:
    command = ["compare", "--profile", "pcm-ibm-2020", "--out", str(tmp_path / "cmp"), *more]
    code, _, err = cimsim(*command)
    assert code == 2
    assert message in err
    assert not (tmp_path / "cmp").exists()


def test_a_device_is_wanted(cimsim: Command, tmp_path: Path) -> None:
    code, _, err = cimsim("compare", "--methods", "digital", "--out", str(tmp_path / "cmp"))
    assert code == 2
    assert "no profile: add --profile" in err
