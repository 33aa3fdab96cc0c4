"""Conversion: which layers, what stays, what is refused."""

import logging
import threading
from typing import Any

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


def test_settings_of_a_layer_that_is_kept_digital_are_refused() -> None:
    message = "layers: 'stem' matches only layers that are kept digital; leave it out, or do not"
    for changes in ({"digital": True}, {"adc.bits": 4}):
        with pytest.raises(CimsimError, match=message):
            cimsim.convert(Residual(), "ideal", keep_digital="first", layers={"stem": changes})
    with pytest.raises(CimsimError, match=message):
        cimsim.convert(Residual(), "ideal", only=lambda n, _: n != "stem", layers={"stem": changes})
    found = kinds(cimsim.convert(Residual(), "ideal", keep_digital="stem", layers={"*e*": changes}))
    assert found["stem"] is nn.Conv2d
    assert found["head"] is AnalogLinear


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
    with pytest.raises(CimsimError, match="layers '0' and '1' would sample the same noise"):
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
    shape = "in_features=3, out_features=2, bias=True"
    assert text == f"AnalogLinear({shape}, profile=ideal, rule=programmed-mean)"


def test_some_layers_have_settings_of_their_own() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))
    layers = {
        "*": {"rule": "C"},
        "[01]": {"profile": "reram-wan-2022", "denoise": 0.1},
        "last": {"quantize_weights": "uniform:bits=2", "rule": "E"},
    }
    one, two, three = cimsim.convert(model, "ideal", layers=layers)
    assert [layer.profile.name for layer in (one, two, three)] == [
        "reram-wan-2022",
        "reram-wan-2022",
        "ideal",
    ]
    assert [layer.rule.name for layer in (one, two, three)] == [*["output-ste"] * 2, "clipped-ste"]
    assert one.denoiser is not None
    assert three.denoiser is None
    assert three.weight_quantizer is not None


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ({"nothing*": {"rule": "C"}}, r"layers: unknown layer 'nothing\*'"),
        ({"0": {"ruel": "C"}}, "unknown setting of a layer 'ruel'; did you mean 'rule'"),
        ({"0": {"profile": "ideel"}}, "ideal"),
        ({"0": {"quantize_weights": "lqs"}}, "lsq"),
    ],
)
def test_bad_settings_of_layers_are_told_and_change_nothing(
    layers: dict[str, dict[str, str]], message: str
) -> None:
    model = nn.Sequential(nn.Linear(4, 4))
    with pytest.raises(CimsimError, match=message):
        cimsim.convert(model, "ideal", layers=layers, inplace=True)
    assert type(model[0]) is nn.Linear


def test_and_digital_again() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(2, 4, 3), nn.Flatten(), nn.Linear(8, 3))
    kept = [dict(vars(module)) for module in model.modules()]
    analog = cimsim.convert(model, "pcm-ibm-2020", quantize_weights="uniform:bits=3")
    held = [layer.effective_weight() for layer in (analog[0], analog[2])]
    back = cimsim.to_digital(analog)
    assert [type(module) for module in back.modules()] == [type(m) for m in model.modules()]
    assert [sorted(vars(module)) for module in back.modules()] == [sorted(k) for k in kept]
    assert torch.equal(back[0].weight, held[0])
    assert torch.equal(back[2].weight, held[1])
    assert isinstance(analog[2], AnalogLinear)
    with pytest.raises(CimsimError, match="a denoiser, which a digital layer cannot have"):
        cimsim.to_digital(cimsim.convert(model, "ideal", denoise=0.1))


def test_a_wrapped_model_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CimsimError, match="convert the module inside"):
        cimsim.convert(nn.DataParallel(nn.Linear(2, 2)), "ideal")


def test_a_compiled_model_is_converted_inside() -> None:
    compiled = torch.compile(nn.Sequential(nn.Linear(4, 4)), backend="eager")
    x = torch.randn(2, 4)
    before = compiled(x)
    analog = cimsim.convert(compiled, "pcm-ibm-2020", inplace=True)
    cimsim.calibrate(analog, [x])
    assert not torch.equal(analog(x), before)


@pytest.mark.parametrize("assign", [True, False])
def test_on_the_meta_device_and_then_filled(assign: bool) -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2))
    with torch.device("meta"):
        empty = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2))
    analog = cimsim.convert(empty, "pcm-ibm-2020")
    if not assign:
        analog.to_empty(device="cpu")
    analog.load_state_dict(plain.state_dict(), assign=assign)
    x = torch.randn(7, 6)
    with pytest.raises(CimsimError, match="have no range yet"):
        analog(x)
    cimsim.calibrate(analog, [x])
    twin = cimsim.calibrate(cimsim.convert(plain, "pcm-ibm-2020"), [x])
    assert torch.equal(analog.eval()(x), twin.eval()(x))


def test_a_model_that_cannot_be_copied_is_converted_in_place() -> None:
    model = nn.Sequential(nn.Linear(4, 4))
    model.lock = threading.Lock()
    cimsim.convert(model, "ideal", inplace=True)
    assert isinstance(model[0], AnalogLinear)
    cimsim.to_digital(model, inplace=True)
    assert type(model[0]) is nn.Linear


WRONG: dict[str, dict[str, Any]] = {
    "a pattern must be text such as .*, not a Linear": {"keep_digital": [nn.Linear(2, 2)]},
    "only must be a function of a layer's name": {"only": ["0"]},
    "layers must be a dict of settings by pattern": {"layers": ["0"]},
    "layers '0': settings of a layer must be a dict": {"layers": {"0": "digital"}},
    "a quantizer must be text such as 'uniform', not 4": {"quantize_weights": 4},
    "a quantizer must be text such as 'uniform', not 8": {"quantize_inputs": 8},
    "there is no backward rule 'None'": {"rule": None},
    "a denoiser must be a number of 0 or more, not 'yes'": {"denoise": "yes"},
    "a profile must be a name such as .*, not a dict": {"profile": {"name": "mine"}},
    "a profile must be a name such as .*, not a NoneType": {"profile": None},
}


@pytest.mark.parametrize("message", WRONG)
def test_an_argument_of_another_type_gets_one_sentence(message: str) -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(CimsimError, match=message):
        cimsim.convert(model, **{"profile": "ideal", **WRONG[message]})
    assert type(model[0]) is nn.Linear


@pytest.mark.parametrize("kept", ["head", ["head"], ("head",), {"head"}])
def test_one_pattern_may_come_without_a_list(kept: Any) -> None:
    model = nn.ModuleDict({"head": nn.Linear(2, 2), "body": nn.Linear(2, 2)})
    converted = cimsim.convert(model, "ideal", keep_digital=kept)
    assert [type(part) for part in converted.values()] == [nn.Linear, AnalogLinear]


def test_a_layer_without_a_weight_stays_digital(caplog: pytest.LogCaptureFixture) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[0].register_parameter("weight", None)
    converted = cimsim.convert(model, "ideal")
    assert [type(part) for part in converted] == [nn.Linear, AnalogLinear]
    assert "layer '0' (Linear) stays digital: it has no weights" in caplog.text


def test_another_device_by_its_name() -> None:
    layer = cimsim.convert(nn.Linear(2, 2), "ideal")
    cimsim.nn.set_profile(layer, "pcm-ibm-2020")
    assert layer.profile.name == "pcm-ibm-2020"
