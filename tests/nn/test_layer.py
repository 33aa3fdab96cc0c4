"""The analog layers as modules: modes, seeds, state, dtypes."""

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import cimsim
from cimsim import kernels
from cimsim.errors import CimsimError
from cimsim.nn import AnalogConv2d, AnalogLinear, analog_layers, repeated_calls
from tests.building import ONE_OVER_F, POLYNOMIAL, device
from tests.nn.layer_kinds import LAYERS

NOISY = device(programming=[POLYNOMIAL], read=[ONE_OVER_F], dac=8, adc=8)
STATIC = device(programming=[POLYNOMIAL])


def small_cnn() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 6 * 6, 5)
    )


def images(n: int = 3) -> Tensor:
    return torch.randn(n, 2, 6, 6, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def model() -> nn.Module:
    return cimsim.calibrate(cimsim.convert(small_cnn(), NOISY), [images()])


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("case", LAYERS.values(), ids=list(LAYERS))
@pytest.mark.parametrize("rows", [512, 15])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ideal_layer_is_the_digital_one(
    case: tuple[Callable[[], nn.Module], tuple[int, ...]],
    rows: int,
    training: bool,
    dtype: torch.dtype,
) -> None:
    make, shape = case
    torch.manual_seed(0)
    plain = make().train(training)
    analog = cimsim.convert(plain, device(rows=rows))
    plain, analog = plain.to(dtype), analog.to(dtype)
    x = torch.randn(shape, dtype=dtype)
    inputs = [x.clone().requires_grad_() for _ in range(2)]
    outputs = [layer(v) for layer, v in zip((plain, analog), inputs, strict=True)]
    tolerance = {torch.float32: 1e-5, torch.float64: 1e-12}[dtype]

    def close(a: Tensor | None, b: Tensor | None) -> None:
        assert a is not None
        assert b is not None
        size = max(b.abs().max().item(), 1.0) if b.numel() else 1.0
        torch.testing.assert_close(a, b, rtol=0, atol=tolerance * size)

    close(outputs[1], outputs[0])
    for y in outputs:
        y.square().sum().backward()
    close(inputs[1].grad, inputs[0].grad)
    with torch.no_grad():
        for parameter in analog.parameters():
            parameter.copy_(parameter.grad)
    gradients = dict(cimsim.to_digital(analog).named_parameters())
    assert list(gradients) == [name for name, _ in plain.named_parameters()]
    for name, parameter in plain.named_parameters():
        close(gradients[name], parameter.grad)


def test_training_meets_a_fresh_chip_each_time(model: nn.Module) -> None:
    model.train()
    assert not torch.equal(model(images()), model(images()))


def test_evaluation_stays_on_its_chip_and_only_reads_change() -> None:
    model = cimsim.convert(small_cnn(), STATIC).eval()
    assert torch.equal(model(images()), model(images()))
    reading = cimsim.convert(small_cnn(), device(read=[ONE_OVER_F])).eval()
    assert not torch.equal(reading(images()), reading(images()))


def test_seeds_reproduce_a_chip_and_its_reads(model: nn.Module) -> None:
    model.eval()

    def twice(seed: int) -> Tensor:
        cimsim.program(model, seed)
        return torch.stack((model(images()), model(images())))

    first = twice(1)
    other = twice(2)
    assert torch.equal(twice(1), first)
    assert not torch.equal(other, first)


def test_two_layers_never_share_draws() -> None:
    pair = nn.Sequential(nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False))
    pair[1].weight = nn.Parameter(pair[0].weight.detach().clone())
    model = cimsim.convert(pair, STATIC)
    one, two = (layer.programmed_weight() for layer in analog_layers(model).values())
    assert not torch.equal(one, two)


def test_training_chips_are_no_evaluation_chips() -> None:
    """The leak that would make every result worthless: disjoint names for disjoint uses."""
    layer = cimsim.convert(nn.Linear(8, 8), STATIC)
    assert isinstance(layer, AnalogLinear)
    training = {layer.train().next_call(torch.float32).chip_seed for _ in range(50)}
    evaluation = set()
    for seed in range(50):
        layer.program(seed)
        evaluation.add(layer.eval().next_call(torch.float32).chip_seed)
    assert len(training) == len(evaluation) == 50
    assert not training & evaluation


def test_a_chip_is_written_anew_when_the_weights_change() -> None:
    layer = cimsim.convert(nn.Linear(8, 8), STATIC).eval()
    assert isinstance(layer, AnalogLinear)
    before = layer.programmed_weight()
    with torch.no_grad():
        layer.weight.mul_(2)
    assert torch.allclose(layer.programmed_weight(), 2 * before)


@pytest.mark.parametrize("which", ["fused", "torch"])
@pytest.mark.parametrize("shape", [(5, 6), (2, 5, 6)])
def test_the_output_can_be_written_to(which: kernels.Use, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    linear = nn.Sequential(nn.Linear(6, 4, bias=False), nn.ReLU(inplace=True))
    model = cimsim.calibrate(cimsim.convert(linear, NOISY), [x])
    with kernels.use(which):
        model(x).sum().backward()
    assert model[0].weight.grad is not None


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam, torch.optim.LBFGS])
def test_any_optimizer_trains_it(optimizer: type[torch.optim.Optimizer]) -> None:
    """One chip without read noise: the line search of LBFGS compares losses of several calls.

    Over 20 draws of the target, the loss fell to 0.65 (SGD) or 0.002 of the first or below.
    """
    model = cimsim.convert(small_cnn(), STATIC).eval()
    torch.manual_seed(0)
    x, target = images(32), torch.randint(0, 5, (32,))
    opt = optimizer(model.parameters(), lr=0.02)

    def closure() -> float:
        opt.zero_grad()
        loss = nn.functional.cross_entropy(model(x), target)
        loss.backward()
        return loss.item()

    first = closure()
    for _ in range(60):
        opt.step(closure)
    assert closure() < 0.8 * first


def test_state_dict_is_plain_tensors(model: nn.Module, tmp_path) -> None:  # type: ignore[no-untyped-def]
    model.train()
    model(images())
    assert all(isinstance(value, Tensor) for value in model.state_dict().values())
    torch.save(model.state_dict(), tmp_path / "state.pt")
    other = cimsim.convert(small_cnn(), NOISY, seed=99)
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    # Ranges came along, and so did the place in the stream of training chips.
    assert torch.equal(other(images()), model(images()))


def test_digital_checkpoint_loads_into_the_analog_model() -> None:
    plain = small_cnn()
    model = cimsim.convert(small_cnn(), device())
    with torch.no_grad():
        plain[0].weight.add_(1.0)
    model.load_state_dict(plain.state_dict())
    torch.testing.assert_close(model(images()), plain(images()))
    state = plain.state_dict()
    del state["0.bias"]
    with pytest.raises(RuntimeError, match=r'Missing key\(s\) in state_dict: "0.bias"'):
        model.load_state_dict(state)


def test_loading_a_state_without_ranges_asks_for_calibration(model: nn.Module) -> None:
    model.load_state_dict(cimsim.convert(small_cnn(), NOISY).state_dict())
    with pytest.raises(CimsimError, match="have no range yet"):
        model(images())


def test_a_chip_follows_the_weights_of_a_functional_call() -> None:
    layer = cimsim.convert(nn.Linear(8, 8, bias=False), STATIC).eval()
    x = torch.randn(3, 8)
    weight = layer.weight.detach()

    def call(scale: float) -> Tensor:
        y: Tensor = torch.func.functional_call(layer, {"weight": weight * scale}, (x,))
        return y

    one, zero, three = (call(scale) for scale in (1.0, 0.0, 3.0))
    assert zero.abs().max() < 1e-20
    torch.testing.assert_close(three, 3 * one)


def test_calibrating_between_forward_and_backward_changes_no_gradient(model: nn.Module) -> None:
    layer = model[3]

    def gradient(disturb: bool) -> Tensor:
        layer.zero_grad()
        layer.draws = 0
        x = torch.randn(4, 144, generator=torch.Generator().manual_seed(2))
        y = layer(x)
        if disturb:
            cimsim.calibrate(layer, [50 * x])
        y.sum().backward()
        return layer.weight.grad.clone()

    undisturbed = gradient(False)
    assert torch.equal(gradient(True), undisturbed)


def _gradients(model: nn.Module, run: Callable[[nn.Module, Tensor], Tensor]) -> list[Tensor]:
    torch.manual_seed(3)
    x = images().requires_grad_()
    model.zero_grad()
    run(model, x).square().sum().backward()
    assert x.grad is not None
    return [x.grad, *(p.grad.clone() for p in model.parameters() if p.grad is not None)]


@pytest.mark.parametrize("training", [True, False])
def test_activation_checkpointing_meets_the_same_chips_and_reads(
    model: nn.Module, training: bool
) -> None:
    from torch.autograd.graph import saved_tensors_hooks
    from torch.utils.checkpoint import checkpoint

    model.insert(2, nn.Dropout(0.5))  # takes from torch's random numbers between the layers
    model.train(training)

    def kept(model: nn.Module, x: Tensor) -> Tensor:
        """As checkpointing runs it, but without running it again."""
        with saved_tensors_hooks(lambda t: t, lambda t: t):
            y: Tensor = model(x)
            return y

    def again(model: nn.Module, x: Tensor) -> Tensor:
        y: Tensor = checkpoint(model, x, use_reentrant=False)
        return y

    def in_parts(model: nn.Module, x: Tensor) -> Tensor:
        for part in model:
            x = checkpoint(part, x, use_reentrant=False)
        return x

    expected = _gradients(model, kept)
    for run in (again, in_parts):
        for found, wanted in zip(_gradients(model, run), expected, strict=True):
            assert torch.equal(found, wanted)
    torch.manual_seed(4)
    assert not torch.equal(kept(model, images()), kept(model, images()))


@pytest.mark.parametrize("options", [{"use_reentrant": True}, {"preserve_rng_state": False}])
def test_checkpointing_that_would_meet_other_chips_is_refused(
    model: nn.Module, options: dict[str, bool]
) -> None:
    from torch.utils.checkpoint import checkpoint

    y = checkpoint(model.train(), images().requires_grad_(), **{"use_reentrant": False, **options})
    with pytest.raises(CimsimError, match="would use another chip than"):
        y.sum().backward()


def _recurrent(layer: nn.Module, calls: int) -> Tensor:
    from torch.utils.checkpoint import checkpoint

    y = torch.linspace(-1, 1, 6, requires_grad=True).view(1, 6)
    for _ in range(calls):
        y = checkpoint(layer, torch.tanh(y), use_reentrant=False)
    return y.sum()


@pytest.fixture
def square() -> nn.Module:
    torch.manual_seed(0)
    return cimsim.calibrate(cimsim.convert(nn.Linear(6, 6), NOISY), [torch.randn(9, 6)]).train()


def test_any_number_of_checkpointed_calls_is_repeated(
    square: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each checkpoint has its own hooks, and a limit for the calls under one pair of them."""
    monkeypatch.setattr(repeated_calls, "MOST_CALLS", 2)
    for steps in (1, 30):
        loss = _recurrent(square, steps)
        loss.backward(retain_graph=True)
        loss.backward()
    assert square.weight.grad is not None
    del loss
    assert len(square._repeated) == 0  # no graph may repeat a call


def test_calls_are_remembered_as_long_as_the_graph(square: nn.Module) -> None:
    first, second = _recurrent(square, 5), _recurrent(square, 7)
    assert len(square._repeated) == 12
    assert len(copy.deepcopy(square)._repeated) == 0
    pickle.loads(pickle.dumps(square))
    first.backward()
    del first
    assert len(square._repeated) == 7
    del second  # without backward
    assert len(square._repeated) == 0


def test_too_many_calls_in_one_checkpoint_are_refused_with_the_reason(
    square: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch.utils.checkpoint import checkpoint

    monkeypatch.setattr(repeated_calls, "MOST_CALLS", 3)
    y = checkpoint(nn.Sequential(*[square] * 5), torch.randn(1, 6), use_reentrant=False)
    with pytest.raises(CimsimError, match=r"use_reentrant=False.*parts with at most 3 calls"):
        y.sum().backward()


def test_hooks_that_have_no_weak_references(square: nn.Module) -> None:
    from torch.autograd.graph import saved_tensors_hooks

    with saved_tensors_hooks(lambda t: t, torch.Tensor.clone):
        y = square(torch.randn(1, 6))
    y.sum().backward()
    assert square.weight.grad is not None


def test_hooks_that_exist_forever_do_not_fill_the_memory(
    square: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch.autograd.graph import saved_tensors_hooks

    monkeypatch.setattr(repeated_calls, "MOST_CALLS", 3)

    def same(t: Tensor) -> Tensor:
        return t

    for _ in range(9):
        with saved_tensors_hooks(same, same):
            square(torch.randn(1, 6)).sum().backward()
    assert len(square._repeated) == 3


def test_data_parallel_replicas_are_refused(model: nn.Module) -> None:
    model[3]._is_replica = True  # what DataParallel sets on its throw-away copies
    with pytest.raises(CimsimError, match=r"use torch\.nn\.parallel\.DistributedDataParallel"):
        model(images())


def test_models_made_in_inference_mode() -> None:
    with torch.inference_mode():
        layer = cimsim.convert(nn.Linear(6, 4), STATIC).eval()
        assert layer(torch.randn(2, 6)).shape == (2, 4)


def test_deepcopy_is_independent(model: nn.Module) -> None:
    model.eval()
    model(images())
    twin = copy.deepcopy(model)
    with torch.no_grad():
        twin[0].weight.zero_()
    assert model[0].weight.abs().sum() > 0
    assert torch.equal(
        cimsim.program(copy.deepcopy(model), 1)(images()), cimsim.program(model, 1)(images())
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_dtypes(dtype: torch.dtype) -> None:
    model = cimsim.calibrate(cimsim.convert(small_cnn(), NOISY), [images()]).to(dtype)
    y = model(images().to(dtype))
    assert y.dtype == dtype
    y.sum().backward()
    assert all(p.grad is not None and p.grad.dtype == dtype for p in model.parameters())


def test_autocast_gives_what_torch_gives(model: nn.Module) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = model(images())
    assert y.dtype == torch.bfloat16
    y.float().sum().backward()
    assert model[0].weight.grad.dtype == torch.float32


def test_moving_a_model_takes_its_ranges_along(model: nn.Module) -> None:
    meta = copy.deepcopy(model).to("meta")
    assert meta[0].dac_range.device.type == "meta"


def test_nothing_is_silent_without_calibration() -> None:
    model = cimsim.convert(small_cnn(), NOISY)
    with pytest.raises(CimsimError, match=r"layer '0' have no range yet; .*cimsim.calibrate"):
        model(images())


def test_a_programmed_chip_passes_gradients_to_its_input(model: nn.Module) -> None:
    assert isinstance(model[0], AnalogConv2d)
    x = images().requires_grad_()
    model.eval()
    model(x).sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0


@pytest.mark.parametrize("rule", ["A", "B", "C", "E", "F"])
def test_weights_of_exactly_zero_have_the_digital_gradient(rule: str) -> None:
    plain = nn.Linear(6, 4)
    nn.init.zeros_(plain.weight)
    with torch.no_grad():
        plain.weight[0, 0] = 1.0
    analog = cimsim.convert(plain, device(), rule=rule)
    x = torch.randn(5, 6)
    plain(x).sum().backward()
    analog(x).sum().backward()
    torch.testing.assert_close(analog.weight.grad, plain.weight.grad)


@pytest.mark.parametrize("what", ["input", "weight", "both"])
def test_channels_last(what: str) -> None:
    plain = nn.Conv2d(4, 6, 3, padding=1)
    x = torch.randn(2, 4, 7, 8)
    analog = cimsim.convert(plain, device())
    if what != "input":
        analog = analog.to(memory_format=torch.channels_last)
    if what != "weight":
        x = x.contiguous(memory_format=torch.channels_last)
    y, reference = analog(x), plain(x)
    torch.testing.assert_close(y, reference)
    y.sum().backward(), reference.sum().backward()
    torch.testing.assert_close(analog.weight.grad, plain.weight.grad)


def test_a_layer_made_by_the_class_of_another_is_digital() -> None:
    """As libraries do that add a layer of the same kind."""
    layer = cimsim.convert(nn.Conv2d(2, 3, 3), "ideal")
    assert type(type(layer)(2, 4, kernel_size=1)) is nn.Conv2d
