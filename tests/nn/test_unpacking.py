"""Attention and recurrences, taken apart: torch's own answers, checkpoints, chips."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence

import cimsim
from cimsim.errors import CimsimError
from cimsim.nn import AnalogLinear, UnpackedAttention, analog_layers
from cimsim.nn.registry import PACKED
from tests.building import POLYNOMIAL, device
from tests.nn.examples import layer_of

IDEAL = device()
STATIC = device(programming=[POLYNOMIAL])


def attention(**settings: Any) -> tuple[nn.Module, nn.Module]:
    """Torch's and ours in float64: scores reach 67, and torch's own in float32 are 2e-5 away."""
    torch.manual_seed(0)
    plain = nn.MultiheadAttention(8, 2, **settings).eval()
    for parameter in plain.parameters():
        nn.init.normal_(parameter)
    plain.double()
    return plain, cimsim.convert(plain, IDEAL)


def same(a: Any, b: Any, atol: float | None = None) -> None:
    if isinstance(a, tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            same(x, y, atol)
    elif a is None:
        assert b is None
    else:
        torch.testing.assert_close(a, b, atol=atol, rtol=None if atol is None else 0)


BOOL = torch.tensor([[False, False, True, False, False], [False, True, True, False, True]])


@pytest.mark.parametrize("padding", [None, BOOL, BOOL.double() * -3], ids=["", "bool", "float"])
@pytest.mark.parametrize("mask", [None, "causal", "bool", "per head"])
@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("settings", [{}, {"batch_first": True, "add_bias_kv": True}], ids=str)
def test_attention_masks_as_torch_does(
    padding: Tensor | None, mask: str | None, need_weights: bool, settings: dict[str, bool]
) -> None:
    plain, analog = attention(**settings)
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    q, k, v = (
        t if settings.get("batch_first") else t.transpose(0, 1) for t in (x, x.flip(1), x.neg())
    )
    floating = padding is None or padding.dtype != torch.bool
    given = {
        None: None,
        "causal": nn.Transformer.generate_square_subsequent_mask(5, dtype=torch.float64),
        "bool": torch.ones(5, 5).triu(1).bool(),
        "per head": torch.randn(4, 5, 5, dtype=torch.float64),
    }[mask]
    if given is not None and padding is not None and floating != (given.dtype != torch.bool):
        pytest.skip("torch deprecates masks of two kinds")
    if mask == "causal" and padding is None and not need_weights and "add_bias_kv" in settings:
        pytest.skip("torch forgets here that every query may see the added key")
    options = {
        "attn_mask": given,
        "key_padding_mask": padding,
        "need_weights": need_weights,
        "is_causal": mask == "causal",
        "average_attn_weights": mask != "bool",
    }
    same(analog(q, k, v, **options), plain(q, k, v, **options), atol=1e-12)


def test_other_widths_of_keys_and_values() -> None:
    plain, analog = attention(kdim=6, vdim=3)
    sizes = (4, 2, 8), (5, 2, 6), (5, 2, 3)
    q, k, v = (torch.randn(size, dtype=torch.float64) for size in sizes)
    same(analog(q, k, v), plain(q, k, v), atol=1e-12)
    assert list(cimsim.to_digital(analog).state_dict()) == list(plain.state_dict())


@pytest.mark.parametrize("norm_first", [True, False])
def test_a_transformer_of_torch(norm_first: bool) -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=norm_first)
    plain = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    analog = cimsim.convert(plain, IDEAL)
    assert len(analog_layers(analog)) == 2 * 6
    x = torch.randn(2, 5, 8)
    with torch.no_grad():
        same(analog(x), plain(x))
        same(analog(x, src_key_padding_mask=BOOL), plain(x, src_key_padding_mask=BOOL))


RECURRENCES: dict[str, tuple[type[nn.RNNBase], dict[str, Any]]] = {
    "rnn": (nn.RNN, {}),
    "gru": (nn.GRU, {"num_layers": 2, "bidirectional": True}),
    "lstm": (nn.LSTM, {"num_layers": 2, "bidirectional": True}),
    "lstm, batch first": (nn.LSTM, {"batch_first": True}),
}


@pytest.mark.parametrize("case", RECURRENCES.values(), ids=list(RECURRENCES))
def test_packed_sequences_and_first_states(
    case: tuple[type[nn.RNNBase], dict[str, Any]],
) -> None:
    kind, settings = case
    torch.manual_seed(0)
    plain = kind(3, 4, **settings).eval()
    analog = cimsim.convert(plain, IDEAL)
    sequences = [torch.randn(n, 3) for n in (2, 5, 1, 4)]
    packed = pack_sequence(sequences, enforce_sorted=False)
    states = settings.get("num_layers", 1) * (2 if settings.get("bidirectional") else 1)
    first: Any = torch.randn(states, 4, 4)
    if kind is nn.LSTM:
        first = (first, torch.randn(states, 4, 4))
    with torch.no_grad():
        for hx in (None, first):
            (ours, last), (theirs, expected) = analog(packed, hx), plain(packed, hx)
            same(tuple(ours), tuple(theirs))
            same(last, expected)


@pytest.mark.parametrize("training", [True, False])
def test_all_times_meet_one_chip(training: bool) -> None:
    torch.manual_seed(0)
    analog = cimsim.convert(nn.LSTM(3, 4), STATIC).train(training)
    x = torch.randn(1, 2, 3).expand(6, 2, 3)
    seen: list[Tensor] = []
    analog.ih_l0.register_forward_hook(lambda m, i, o: seen.append(o.detach()))
    analog.hh_l0.register_forward_pre_hook(lambda m, i: seen.append(i[0].detach()))
    analog.hh_l0.register_forward_hook(lambda m, i, o: seen.append(o.detach()))
    analog(x)
    of_input, *rest = seen
    assert torch.equal(of_input, of_input[:1].expand_as(of_input))
    states, answers = torch.cat(rest[::2])[2:], torch.cat(rest[1::2])[2:]  # the first are zero
    bias = analog.hh_l0.bias.detach()
    fitted = torch.linalg.lstsq(states.double(), (answers - bias).double()).solution
    torch.testing.assert_close(
        states.double() @ fitted, (answers - bias).double(), atol=1e-5, rtol=0
    )
    draws = analog.hh_l0.draws
    analog(x)
    assert analog.hh_l0.draws == draws + (1 if training else 0)


def test_gradients_through_time_are_those_of_the_chip() -> None:
    """Rule F on one chip: the same as autograd through a recurrence with the programmed weight."""
    torch.manual_seed(0)
    analog = cimsim.convert(nn.RNN(3, 4, bias=False), STATIC, rule="B").train().double()
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    analog(x)[0].square().sum().backward()
    held = {}
    for name in ("ih_l0", "hh_l0"):
        layer = getattr(analog, name)
        seed = cimsim.seeds.seed_for("training", layer.seed, layer.name, 0)
        held[name] = layer.array.programmed_weight(layer.array.chip(layer.weight.detach(), seed))
    plain = nn.RNN(3, 4, bias=False).double()
    with torch.no_grad():
        plain.weight_ih_l0.copy_(held["ih_l0"])
        plain.weight_hh_l0.copy_(held["hh_l0"])
    plain(x)[0].square().sum().backward()
    torch.testing.assert_close(analog.hh_l0.weight.grad, plain.weight_hh_l0.grad)


@pytest.mark.parametrize("make", [lambda: nn.MultiheadAttention(8, 2), lambda: nn.LSTM(8, 8, 2)])
def test_a_digital_checkpoint_still_loads_and_copies_work(make: Any) -> None:
    one, two = make(), make()
    analog = cimsim.convert(one, IDEAL)
    analog.load_state_dict(two.state_dict())
    for name, tensor in cimsim.to_digital(analog).state_dict().items():
        assert torch.equal(tensor, two.state_dict()[name]), name
    for again in (copy.deepcopy(analog), pickle.loads(pickle.dumps(analog))):
        again.load_state_dict(analog.state_dict())
        assert len(analog_layers(again)) == len(analog_layers(analog))
    analog.to(torch.float64)
    assert all(p.dtype == torch.float64 for p in analog.parameters())


def test_part_of_an_attention_can_stay_digital() -> None:
    plain = nn.MultiheadAttention(8, 2)
    analog = cimsim.convert(plain, IDEAL, keep_digital=["?_proj"])
    assert isinstance(analog, UnpackedAttention)
    assert list(analog_layers(analog)) == ["out_proj"]
    assert isinstance(analog.out_proj, AnalogLinear)
    assert isinstance(plain.in_proj_weight, Tensor)  # a copy was converted


def test_what_stays_digital_stays_whole() -> None:
    model = nn.Sequential(nn.LSTM(4, 4), nn.MultiheadAttention(4, 2), nn.Linear(4, 4))
    analog = cimsim.convert(model, IDEAL, keep_digital=["0.*", "1.*"])
    assert [type(part) for part in analog] == [nn.LSTM, nn.MultiheadAttention, AnalogLinear]
    before = list(model.state_dict())[:-2]  # without the last layer's
    assert list(analog.state_dict())[: len(before)] == before
    x = torch.randn(5, 2, 4)
    same(analog[0](x), model[0](x))


RECURRENCES: list[tuple[type[nn.RNNBase], dict[str, Any]]] = [
    (nn.RNN, {}),
    (nn.GRU, {"num_layers": 2, "batch_first": True}),
    (nn.LSTM, {"bidirectional": True}),
]


@pytest.mark.parametrize(("kind", "settings"), RECURRENCES, ids=str)
def test_a_recurrence_refuses_what_torch_refuses(
    kind: type[nn.RNNBase], settings: dict[str, Any]
) -> None:
    """Broadcast or left out, such states would give an answer."""
    plain = kind(3, 4, **settings)
    analog, x = cimsim.convert(plain, IDEAL), torch.randn(5, 5, 3)
    rows = plain.num_layers * (2 if plain.bidirectional else 1)
    for wrong in ((rows, 1, 4), (rows + 1, 5, 4), (rows, 5, 1), (rows, 4), (5, 4)):
        state: Any = torch.zeros(wrong)
        state = (state, state) if kind is nn.LSTM else state
        with pytest.raises((RuntimeError, ValueError)):
            plain(x, state)
        with pytest.raises(CimsimError, match=rf"a state of shape \[{rows}, 5, 4\] for this input"):
            analog(x, state)
    for signal in (x.unsqueeze(0), x[0, 0]):
        with pytest.raises((RuntimeError, ValueError)):
            plain(signal)
        with pytest.raises(CimsimError, match="expects a sequence of shape"):
            analog(signal)
    empty = x[:, :0] if plain.batch_first else x[:0]
    with pytest.raises(RuntimeError):
        plain(empty)
    with pytest.raises(CimsimError, match="a sequence of length 0"):
        analog(empty)
    with pytest.raises(CimsimError, match="as its state hx, but got"):
        analog(x, (x, x, x))
    with pytest.raises(CimsimError, match="a PackedSequence, but got a list"):
        analog([x])


def test_states_may_come_in_a_list() -> None:
    plain = nn.LSTM(3, 4)
    x, states = torch.randn(5, 2, 3), [torch.randn(1, 2, 4), torch.randn(1, 2, 4)]
    same(cimsim.convert(plain, IDEAL)(x, states), plain(x, states), atol=1e-5)


X = torch.randn(4, 3, 8)  # time, batch, features
ATTENTIONS: dict[str, tuple[tuple[Tensor, Tensor, Tensor], dict[str, Any]]] = {
    "one batch size": ((X, X[:, :1], X[:, :1]), {}),
    "one value for each key": ((X, X, X[:3]), {}),
    "three tensors with 2 or 3 axes": ((X[:, 0], X, X), {}),
    "three tensors with 2 or 3 axes each": ((X[None], X[None], X[None]), {}),
    r"attn_mask must have the shape \[4, 4\] or \[6, 4, 4\]": (
        (X, X, X),
        {"attn_mask": torch.zeros(1, 4)},
    ),
    r"attn_mask must have the shape \[2, 4\] or \[6, 2, 4\]": (
        (X[:2], X, X),
        {"attn_mask": torch.zeros(3, 2, 4)},
    ),
    r"key_padding_mask must have the shape \[3, 4\]": (
        (X, X, X),
        {"key_padding_mask": torch.zeros(1, 4, dtype=torch.bool)},
    ),
    r"key_padding_mask is torch.int64, but must be bool": (
        (X, X, X),
        {"key_padding_mask": torch.ones(3, 4, dtype=torch.long)},
    ),
    r"attn_mask is torch.uint8, but must be bool": (
        (X, X, X),
        {"attn_mask": torch.ones(4, 4, dtype=torch.uint8)},
    ),
    "only describes attn_mask, so a mask is needed": ((X, X, X), {"is_causal": True}),
}


@pytest.mark.parametrize("message", ATTENTIONS)
def test_attention_refuses_what_torch_refuses(message: str) -> None:
    """Broadcast, added or left out, such masks would give an answer."""
    signals, settings = ATTENTIONS[message]
    plain = nn.MultiheadAttention(8, 2).eval()
    with pytest.raises((RuntimeError, AssertionError)):
        plain(*signals, **settings)
    with pytest.raises(CimsimError, match=message):
        cimsim.convert(plain, IDEAL)(*signals, **settings)


def shared(kind: type[nn.Module]) -> nn.ModuleList:
    """Two modules of that kind with the same parameters, as in networks with tied layers."""
    one, other = layer_of(kind), layer_of(kind)
    for name, parameter in list(one.named_parameters(recurse=False)):
        setattr(other, name, parameter)
    return nn.ModuleList([one, other])


def ties(model: nn.Module) -> list[list[str]]:
    """The names of each parameter that has several."""
    names: dict[nn.Parameter, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(parameter, []).append(name)
    return [several for several in names.values() if len(several) > 1]


@pytest.mark.parametrize("kind", PACKED)
def test_parameters_that_modules_share_stay_shared(kind: type[nn.Module]) -> None:
    plain = shared(kind)
    analog = cimsim.convert(plain, IDEAL)
    one, other = (dict(module.named_parameters()) for module in analog)
    assert all(one[name] is other[name] for name in one if not name.startswith("out_proj"))
    assert ties(cimsim.to_digital(analog)) == ties(plain) != []


@pytest.mark.parametrize("kind", PACKED)
def test_digital_modules_keep_their_ties_with_an_analog_one(kind: type[nn.Module]) -> None:
    """The second module shares its weights with the first, which is analog, and its biases with the
    third."""
    plain = nn.ModuleList([layer_of(kind) for _ in range(3)])
    for name, parameter in list(plain[1].named_parameters(recurse=False)):
        setattr(plain[2 if "bias" in name else 0], name, parameter)
    mixed = cimsim.convert(plain, IDEAL, keep_digital=["1*", "2*"])
    assert {name[0] for name in analog_layers(mixed)} == {"0"}
    assert ties(cimsim.to_digital(mixed)) == ties(plain) != []


@pytest.mark.parametrize("kind", PACKED)
def test_a_module_that_stays_digital_keeps_its_parameters(kind: type[nn.Module]) -> None:
    """So an optimizer that exists remains valid, and ties with any other module are kept."""
    plain = nn.ModuleList([layer_of(kind), nn.Linear(4, 4)])
    before = dict(plain[0].named_parameters())
    cimsim.convert(plain, IDEAL, keep_digital="0*", inplace=True)
    after = dict(plain[0].named_parameters())
    assert list(before) == list(after)
    assert all(before[name] is after[name] for name in before)


def test_an_encoder_with_a_tied_digital_attention_computes_as_before() -> None:
    torch.manual_seed(0)
    layers = [nn.TransformerEncoderLayer(8, 2, 16, batch_first=True) for _ in range(2)]
    encoder = nn.TransformerEncoder(layers[0], 2).eval().double()
    for name in ("in_proj_weight", "in_proj_bias"):
        setattr(encoder.layers[1].self_attn, name, getattr(encoder.layers[0].self_attn, name))
    mixed = cimsim.convert(encoder, IDEAL, keep_digital="layers.1.*")
    x = torch.randn(3, 5, 8).double()
    with torch.no_grad():
        same(mixed(x), encoder(x))


def test_an_lstm_with_one_weight_for_both_directions_trains_as_torch_does() -> None:
    torch.manual_seed(0)
    plain = nn.LSTM(3, 4, bidirectional=True).double()
    plain.weight_hh_l0_reverse = plain.weight_hh_l0
    analog, x = cimsim.convert(plain, IDEAL), torch.randn(5, 2, 3, dtype=torch.float64)
    for model in (plain, analog):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(2):
            optimizer.zero_grad()
            model(x)[0].square().sum().backward()
            optimizer.step()
    same(analog(x), plain(x))


@pytest.mark.parametrize("trained", ["weight", "bias"])
@pytest.mark.parametrize("kind", PACKED)
def test_frozen_parameters_stay_frozen(kind: type[nn.Module], trained: str) -> None:
    plain = layer_of(kind)
    for name, parameter in plain.named_parameters():
        parameter.requires_grad_(trained in name)
    analog = cimsim.convert(plain, IDEAL)
    for model in (analog, cimsim.to_digital(analog)):
        assert all(p.requires_grad == (trained in name) for name, p in model.named_parameters())


@pytest.mark.parametrize("kind", PACKED)
def test_a_parameter_that_was_unpacked_is_missed_with_its_place(kind: type[nn.Module]) -> None:
    plain = layer_of(kind)
    name = next(name for name, _ in plain.named_parameters(recurse=False))
    analog = cimsim.convert(plain, IDEAL)
    with pytest.raises(CimsimError, match=f"has no '{name}', because cimsim.convert has unpacked"):
        delattr(analog, name)
    if kind is nn.MultiheadAttention:  # torch's encoder layer reads it
        assert getattr(analog, name) is None
    else:
        assert not hasattr(analog, name)
    with pytest.raises(AttributeError, match="no attribute 'something'"):
        _ = analog.something
