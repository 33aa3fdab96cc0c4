"""``cimsim generate``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from cimsim.errors import CimsimError
from cimsim.seeds import generator
from cimsim.training.config import make_config
from cimsim.training.data.text import character_text
from cimsim.training.fit import fit
from cimsim.training.generate import generate
from tests.cli.conftest import Command

VERSE = "Shall I compare thee to a summer's day?\nThou art more lovely and more temperate.\n"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    (folder / "input.txt").write_text(VERSE * 40)
    settings = {"data": "tinyshakespeare", "data_dir": folder, "model": "gpt", "batch_size": 8}
    config = make_config(profile="pcm-ibm-2020", epochs=1, lr=0.003, **settings)
    return fit(config, folder / "run").path


def test_it_writes_the_same_text_for_the_same_seeds(run: Path, cimsim: Command) -> None:
    def out(*args: object) -> str:
        done = cimsim("generate", run, "--prompt", "Shall I", "--length", 30, *args)
        assert done.code == 0, done.err
        return done.out

    text = out()
    assert text.startswith("Shall I")
    assert len(text) == len("Shall I") + 30 + 1
    assert set(text) <= set(VERSE)
    assert out() == text
    for other in (["--seed", 1], ["--chip-seed", 1, "--age", "10y", "--temperature", 1.5]):
        assert out(*other) != text
    assert out("--cycle", 0) == text
    hot = ["--age", "10y", "--temperature", 1.5]
    assert any(out(*hot, "--cycle", cycle) != out(*hot) for cycle in range(1, 5))
    assert out("--digital") == out("--digital", "--age", "0s")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--prompt", "Wäre"], "characters that are not in tinyshakespeare: 'W', 'ä'"),
        (["--prompt", ""], "--prompt '' is an empty argument"),
        (["--age", "soon"], "soon"),
        (
            ["--digital", "--age", "1y", "--chip-seed", "5", "--profile", "generic-gaussian"],
            "--chip-seed, --age and --profile apply to a chip only; remove --digital, or ",
        ),
        (["--digital", "--cycle", "1", "--on", "ideal"], "--cycle and --on apply to a chip only"),
        (["--temperature", "0", "--seed", "1"], "--seed applies to a --temperature above 0 only"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_written(
    run: Path, args: list[str], message: str, cimsim: Command
) -> None:
    done = cimsim("generate", run, *args)
    assert done.code == 2
    assert done.out == ""
    assert message in done.err


def test_a_sweep_of_text_is_told_in_perplexity(run: Path, cimsim: Command, tmp_path: Path) -> None:
    done = cimsim("sweep", run, "--over", "noise=0,4", "--chips", 2)
    assert "Test perplexity per character" in done.out
    assert cimsim("plot", run, "--out", tmp_path / "p.png").code == 0
    assert cimsim("plot", run, "--metric", "accuracy", "--out", tmp_path / "a.png").code == 0
    assert "did you mean 'accuracy'" in cimsim("plot", run, "--metric", "acuracy").err
    assert (tmp_path / "p.svg").is_file()


def test_no_text_no_writing(tmp_path: Path) -> None:
    class Nonsense(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.full((*x.shape, 3), torch.nan)

    data = character_text("mine", ("ab c" * 400).encode(), "here")
    options: Any = {"rng": generator("x")}
    with pytest.raises(CimsimError, match="not finite"):
        next(generate(Nonsense(), data, "a", 1, **options))
    with pytest.raises(CimsimError, match="the prompt is empty"):
        next(generate(Nonsense(), data, "", 1, **options))
    from cimsim.training.data import load_data

    with pytest.raises(CimsimError, match="'digits' is not text"):
        next(generate(Nonsense(), load_data("digits"), "a", 1, **options))
