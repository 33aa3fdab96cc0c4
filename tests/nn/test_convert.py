"""Conversion: which layers, what stays, what is refused."""

import logging

import pytest
import torch
from torch import Tensor, nn

import cimsim
from cimsim.errors import CimsimError
from cimsim.nn import AnalogConv2d, AnalogLinear


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.block = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4))
        self.again = self.block[0]
        self.head = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x).relu()
        x = self.again((x + self.block(x)).relu())
        y: torch.Tensor = self.head(x.mean((2, 3)))
        return y


def kinds(model: nn.Module) -> dict[str, type]:
    wanted = (nn.Linear, nn.Conv2d)
    return {name: type(m) for name, m in model.named_modules() if isinstance(m, wanted)}


def test_the_whole_model_by_default() -> None:
    plain = Residual()
    analog = cimsim.convert(plain, "ideal")
    assert kinds(analog) == {"stem": AnalogConv2d, "block.0": AnalogConv2d, "head": AnalogLinear}
    assert set(kinds(plain).values()) == {nn.Conv2d, nn.Linear}  # a copy was converted
    assert analog.again is analog.block[0]  # shared modules stay shared
    x = torch.randn(2, 1, 6, 6)
    plain.eval(), analog.eval()
    torch.testing.assert_close(analog(x), plain(x))


def test_in_place_keeps_parameters_hooks_and_optimizer() -> None:
    plain = Residual()
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.1)
    calls = []
    plain.head.register_forward_hook(lambda *_: calls.append(1))
    weight = plain.head.weight
    analog = cimsim.convert(plain, "ideal", inplace=True)
    assert analog is plain
    assert analog.head.weight is weight
    analog(torch.randn(2, 1, 6, 6)).sum().backward()
    assert calls == [1]
    before = weight.detach().clone()
    optimizer.step()
    assert not torch.equal(weight, before)


@pytest.mark.parametrize(
    ("keep", "analog"),
    [
        (["first"], {"block.0", "head"}),
        (["first", "last"], {"block.0"}),
        (["block.*"], {"stem", "head"}),
        (["stem", "h*"], {"block.0"}),
    ],
)
def test_keep_digital(keep: list[str], analog: set[str]) -> None:
    found = kinds(cimsim.convert(Residual(), "ideal", keep_digital=keep))
    assert {n for n, kind in found.items() if kind in (AnalogLinear, AnalogConv2d)} == analog


def test_only() -> None:
    model = cimsim.convert(Residual(), "ideal", only=lambda _, m: isinstance(m, nn.Linear))
    assert kinds(model)["head"] is AnalogLinear
    assert kinds(model)["stem"] is nn.Conv2d


def test_a_single_layer() -> None:
    assert isinstance(cimsim.convert(nn.Linear(3, 2), "ideal"), AnalogLinear)


def test_tied_weights_stay_tied() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    analog = cimsim.convert(model, "ideal")
    assert analog[0].weight is analog[1].weight


def test_subclasses_stay_digital_and_say_so(caplog: pytest.LogCaptureFixture) -> None:
    class Twice(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    model = nn.Sequential(Twice(8, 8), nn.Linear(8, 8))
    with caplog.at_level(logging.WARNING, "cimsim"):
        analog = cimsim.convert(model, "ideal")
    assert "'0' (Twice) stays digital" in caplog.text
    assert isinstance(analog[1], AnalogLinear)


def test_the_fast_path_of_a_transformer_does_not_go_around_the_chip() -> None:
    encoder = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True).eval()
    noisy = cimsim.load_profile("pcm-ibm-2020", ["adc.bits=null", "dac.bits=null"])
    analog = cimsim.convert(encoder, noisy).eval()
    x = torch.randn(2, 5, 16)
    with torch.no_grad():
        assert not torch.equal(analog(x), encoder(x))


def test_layers_converted_one_by_one_would_share_their_noise() -> None:
    one, two = (cimsim.convert(nn.Linear(4, 4), "ideal") for _ in range(2))
    with pytest.raises(CimsimError, match="layers '0' and '1' would draw the same noise"):
        cimsim.program(nn.Sequential(one, two))


def test_what_is_refused() -> None:
    model = Residual()
    with pytest.raises(
        CimsimError, match="keep_digital: unknown layer 'steem'; did you mean 'stem'"
    ):
        cimsim.convert(model, "ideal", keep_digital=["steem"])
    with pytest.raises(CimsimError, match="no layer of this ReLU is left to convert"):
        cimsim.convert(nn.ReLU(), "ideal")
    with pytest.raises(CimsimError, match="3 of them kept digital"):
        cimsim.convert(model, "ideal", keep_digital=["*"])
    with pytest.raises(CimsimError, match="no backward rule 'X'"):
        cimsim.convert(model, "ideal", rule="X")
    with pytest.raises(CimsimError, match="pcm-ibm-2020"):
        cimsim.convert(model, "pcm-ibm-2021")
    assert set(kinds(model).values()) == {nn.Conv2d, nn.Linear}


def test_a_layer_that_does_not_fit_leaves_the_model_as_it_was() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Conv2d(1, 1, 5))
    small = cimsim.load_profile("ideal", ["array.rows=16"])
    with pytest.raises(CimsimError, match="layer '1': a 5x5 kernel needs 25 rows"):
        cimsim.convert(model, small, inplace=True)
    assert set(kinds(model).values()) == {nn.Conv2d, nn.Linear}


def test_the_module_says_where_it_is() -> None:
    text = repr(cimsim.convert(nn.Linear(3, 2), "ideal"))
    assert text == "AnalogLinear(in_features=3, out_features=2, bias=True, profile=ideal, rule=F)"
