"""The modules of a converted model that keep less for backward."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import cimsim
from cimsim.nn.max_pooling import MaxPool1d, MaxPool2d
from cimsim.nn.relu import ReLU, ReLU6
from cimsim.nn.smooth_activations import GELU, SiLU

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch.jit


class Own(nn.ReLU):
    """A user's own."""

    def forward(self, input: Tensor) -> Tensor:
        """Another function."""
        return input.clamp(0, 1)


def converted(*activations: nn.Module, **options: Any) -> nn.Sequential:
    model = nn.Sequential(nn.Linear(4, 4), *activations)
    return cimsim.convert(model, "ideal", **options)


def test_convert_replaces_those_of_torch_and_no_others() -> None:
    own, patched = Own(), nn.ReLU()
    patched.forward = lambda input: input  # type: ignore[method-assign]
    model = converted(
        nn.ReLU(), own, patched, nn.Hardtanh(0, 6), nn.Sequential(nn.ReLU(inplace=True))
    )
    kinds = [type(m) for m in model.modules() if isinstance(m, nn.ReLU | nn.Hardtanh)]
    assert kinds == [ReLU, Own, nn.ReLU, nn.Hardtanh, ReLU]
    assert model[5][0].inplace
    given = (nn.ReLU6(), nn.GELU(), nn.SiLU(), nn.MaxPool1d(2), nn.MaxPool2d(2), nn.MaxPool3d(2))
    other = converted(*given)
    kinds = [type(m) for m in other[1:]]
    assert kinds == [ReLU6, GELU, SiLU, MaxPool1d, MaxPool2d, nn.MaxPool3d]
    assert [type(m) for m in cimsim.to_digital(other)[1:]] == [type(m) for m in given]
    x = torch.randn(3, 4)
    assert torch.equal(model[3](x), x)


def test_the_given_model_is_unchanged_and_inplace_changes_it() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    relu = model[1]
    cimsim.convert(model, "ideal")
    assert type(model[1]) is nn.ReLU
    cimsim.convert(model, "ideal", inplace=True)
    assert model[1] is relu
    assert type(relu) is ReLU


def test_to_digital_restores_them() -> None:
    model = converted(nn.ReLU())
    digital = cimsim.to_digital(model)
    assert type(digital[1]) is nn.ReLU
    assert type(model[1]) is ReLU
    again = cimsim.convert(digital, "ideal")
    assert type(again[1]) is ReLU
    assert torch.jit.script(digital)(torch.ones(2, 4)).shape == (2, 4)


def test_what_torch_keeps_at_a_module_stays() -> None:
    relu = nn.ReLU()
    calls: list[str] = []
    relu.register_forward_hook(lambda m, x, y: calls.append("forward"))
    relu.register_forward_pre_hook(lambda m, x: calls.append("before"))
    relu.register_full_backward_hook(lambda m, dx, dy: calls.append("backward"))
    model = nn.Sequential(nn.Linear(4, 4096), relu, nn.Linear(4096, 4), relu).eval()
    relu.tag = "mine"  # type: ignore[assignment]
    model = cimsim.convert(model, "ideal")
    assert model[1] is model[3]
    assert (model[1].tag, model[1].training) == ("mine", False)
    model.train()(torch.randn(8, 4, requires_grad=True)).sum().backward()
    assert calls == ["before", "forward"] * 2 + ["backward"] * 2


def test_it_looks_and_is_kept_like_that_of_torch() -> None:
    for inplace in (False, True):
        ours, theirs = ReLU(inplace), nn.ReLU(inplace)
        assert repr(ours) == repr(theirs)
        assert ours.state_dict() == theirs.state_dict() == {}
        for copied in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
            assert (type(copied), copied.inplace) == (ReLU, inplace)


def test_a_loaded_model_has_them(tmp_path: Path) -> None:
    cimsim.save(converted(nn.ReLU()), tmp_path / "saved")
    loaded = cimsim.load(tmp_path / "saved", nn.Sequential(nn.Linear(4, 4), nn.ReLU()))
    assert type(loaded[1]) is ReLU


@pytest.mark.parametrize("digital", [False, True])
def test_in_the_encoder_of_torch(digital: bool) -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, 0.0, activation=nn.ReLU(), batch_first=True)
    model = nn.Sequential(nn.Linear(8, 8), nn.TransformerEncoder(layer, 2)).eval()
    keep = ["1.*"] if digital else []
    analog = cimsim.convert(model, "ideal", keep_digital=keep)
    x = torch.randn(3, 5, 8)
    for mode in (analog.train(), analog.eval()):
        torch.testing.assert_close(mode(x), model.train(mode.training)(x))
        with torch.no_grad():
            torch.testing.assert_close(mode(x), model(x))
