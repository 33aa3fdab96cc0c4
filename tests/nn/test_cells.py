"""Recurrent cells: torch's own answers, checkpoints, chips."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import cimsim
from cimsim.errors import CimsimError
from cimsim.nn import analog_layers
from tests.building import POLYNOMIAL, device

IDEAL = device()
CELLS: dict[str, tuple[type[nn.RNNCellBase], dict[str, Any]]] = {
    "rnn": (nn.RNNCell, {}),
    "rnn, relu": (nn.RNNCell, {"nonlinearity": "relu"}),
    "gru": (nn.GRUCell, {}),
    "gru, no bias": (nn.GRUCell, {"bias": False}),
    "lstm": (nn.LSTMCell, {}),
}


@pytest.fixture(params=CELLS)
def plain(request: pytest.FixtureRequest) -> nn.Module:
    kind, settings = CELLS[request.param]
    torch.manual_seed(0)
    return kind(3, 4, **settings).double()


def states(plain: nn.Module, x: Tensor) -> list[Any]:
    """What may be given as the first state: nothing, or what a step has given."""
    return [None, plain(x)]


@pytest.mark.parametrize("shape", [(5, 3), (3,)], ids=["batch", "one vector"])
def test_as_torch_does(plain: nn.Module, shape: tuple[int, ...]) -> None:
    analog = cimsim.convert(plain, IDEAL)
    assert list(analog_layers(analog)) == ["ih", "hh"]
    x = torch.randn(shape, dtype=torch.float64)
    for state in states(plain, x):
        torch.testing.assert_close(analog(x, state), plain(x, state))
        torch.testing.assert_close(analog(input=x, hx=state), plain(input=x, hx=state))


def test_gradients_and_checkpoints(plain: nn.Module) -> None:
    analog = cimsim.convert(type(plain)(3, 4, bias=plain.bias).double(), IDEAL)
    if isinstance(plain, nn.RNNCell):
        analog.nonlinearity = plain.nonlinearity
    analog.load_state_dict(plain.state_dict())
    x, gradients = torch.randn(5, 3, dtype=torch.float64), []
    for cell in (plain, analog):
        state = None
        for _ in range(3):
            state = cell(x, state)
        (state[0] if isinstance(state, tuple) else state).sum().backward()
        gradients.append([p.grad for p in cell.parameters()])
    names = [name for name, _ in analog.named_parameters()]
    order = ["ih.weight", "hh.weight", "ih.bias", "hh.bias"]
    for name, gradient in zip(order, gradients[0], strict=False):
        torch.testing.assert_close(gradients[1][names.index(name)], gradient)
    back = cimsim.to_digital(analog)
    assert type(back) is type(plain)
    assert list(back.state_dict()) == list(plain.state_dict())
    torch.testing.assert_close(back(x), plain(x))


def test_on_a_noisy_chip_and_kept_digital(plain: nn.Module) -> None:
    model = nn.ModuleDict({"cell": plain, "out": nn.Linear(4, 2).double()})
    analog = cimsim.convert(model, device(programming=[POLYNOMIAL]))
    x = torch.randn(5, 3, dtype=torch.float64)
    outputs = [cell(x) for cell in (analog["cell"], plain)]
    ours, theirs = (y[0] if isinstance(y, tuple) else y for y in outputs)
    assert not torch.allclose(ours, theirs, atol=1e-6)
    kept = cimsim.convert(model, IDEAL, keep_digital=["cell.*"])
    assert type(kept["cell"]) is type(plain)


def test_a_batch_of_sequences_is_no_input_of_a_cell() -> None:
    analog = cimsim.convert(nn.LSTMCell(3, 4), IDEAL)
    with pytest.raises(CimsimError, match=r"\[batch, 3\] or \[3\], but got \[2, 5, 3\]"):
        analog(torch.zeros(2, 5, 3))


def test_states_that_torch_refuses_are_refused(plain: nn.Module) -> None:
    """Broadcast, they would give an answer."""
    analog, x = cimsim.convert(plain, IDEAL), torch.randn(5, 3, dtype=torch.float64)
    several = isinstance(plain, nn.LSTMCell)
    for shape in ((1, 4), (5, 1), (4,), (5, 4, 1)):
        state = torch.zeros(shape, dtype=torch.float64)
        given = (state, state) if several else state
        with pytest.raises((RuntimeError, ValueError)):
            plain(x, given)
        with pytest.raises(CimsimError, match=r"expects a state of shape \[5, 4\] for this input"):
            analog(x, given)
    with pytest.raises(CimsimError, match="as its state hx, but got"):
        analog(x, (x, x, x))
    with pytest.raises(CimsimError, match="expects a tensor, but got a list"):
        analog(x.tolist())
