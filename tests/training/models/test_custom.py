from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from cimsim.errors import CimsimError
from cimsim.training.models import build_model

MODULE = """
import torch
from torch import nn

def good(input_shape, classes):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(classes))

def wrong_arguments(width):
    return nn.Linear(width, width)

def no_module(input_shape, classes):
    return "a network"

def fails(input_shape, classes):
    return 1 / 0

def wrong_width(input_shape, classes):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(classes + 1))

def wrong_input(input_shape, classes):
    return nn.Linear(5, classes)

def gives_a_tuple(input_shape, classes):
    class Pair(nn.Module):
        def forward(self, x):
            return x, x
    return Pair()

constant = 3
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder with modules of the user's own; what they leave in Python is undone."""
    (tmp_path / "my_models.py").write_text(MODULE)
    (tmp_path / "needs_more.py").write_text("import a_package_that_is_not_installed")
    (tmp_path / "script.py").write_text("raise SystemExit(0)")
    (tmp_path / "slip.py").write_text("def f(:")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "modules", {**sys.modules})


def build(spec: str, seed: int = 0) -> torch.nn.Module:
    return build_model(spec, (1, 4, 4), classes=3, seed=seed)


def test_a_function_in_the_working_folder() -> None:
    model = build("my_models:good")
    assert model.training
    assert model(torch.zeros(5, 1, 4, 4)).shape == (5, 3)


def test_its_weights_follow_the_seed() -> None:
    weights = [build("my_models:good", seed)[1].weight for seed in (1, 1, 2)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("my_modles:good", "no module 'my_modles' in"),
        ("my_models.inner:good", "no module 'my_models.inner' in"),
        ("my_models:god", "my_models.py has no function 'god'"),
        ("my_models:constant", "my_models.py has no function 'constant'"),
        ("my_models.py:good", "package.module:function"),
        ("./my_models:good", "package.module:function"),
        (":good", "package.module:function"),
        ("my_models:", "package.module:function"),
        (".my_models:good", "package.module:function"),
        ("needs_more:f", "needs_more.py:1: ModuleNotFoundError: No module named 'a_package"),
        ("script:f", "script.py:1: SystemExit"),
        ("slip:f", "SyntaxError"),
        ("my_models:wrong_arguments", "TypeError: wrong_arguments() got an unexpected keyword"),
        ("my_models:no_module", "returned str; it must return a torch.nn.Module"),
        ("my_models:fails", "ZeroDivisionError: division by zero"),
        (
            "my_models:wrong_width",
            "must return (2, 3) for 2 inputs, one logit per class, not (2, 4)",
        ),
        ("my_models:wrong_input", "cannot process 1x4x4 images"),
        ("my_models:gives_a_tuple", "one logit per class, not tuple"),
    ],
)
def test_says_in_one_sentence_what_is_wrong(spec: str, told: str) -> None:
    with pytest.raises(CimsimError) as error:
        build(spec)
    assert spec in str(error.value)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_names_the_line_that_failed() -> None:
    with pytest.raises(CimsimError, match=r"my_models\.py:15: ZeroDivisionError"):
        build("my_models:fails")
