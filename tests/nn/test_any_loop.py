"""What other people's training loops do: every way of writing weights, every mode, every input."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import cimsim
from cimsim import kernels
from cimsim.circuits.converters import EDGE
from cimsim.errors import CimsimError
from cimsim.nn import analog_layers, recalibrate, reestimate, registry
from cimsim.nn.layer import AnalogLayer
from cimsim.nn.statistics import averaging
from cimsim.profile import override_profile, profile_names
from cimsim.quantizers import QUANTIZERS
from tests.building import ONE_OVER_F, POLYNOMIAL, device, gaussian
from tests.nn.layer_kinds import LAYERS

NOISY = device(programming=[POLYNOMIAL], read=[ONE_OVER_F], dac=8, adc=8)
STATIC = device(programming=[POLYNOMIAL], dac=8, adc=8)
BACK_ENDS: tuple[kernels.Use, ...] = ("fused", "torch")
EVERY_LAYER = pytest.mark.parametrize("kind", LAYERS)
EVERY_PROFILE = pytest.mark.parametrize("name", profile_names())
QUIET = pytest.mark.filterwarnings("ignore:LSTM with projections")


def draw(*shape: int, seed: int = 1, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def built(kind: str, profile: Any = NOISY, **settings: Any) -> tuple[nn.Module, Tensor]:
    make, shape = LAYERS[kind]
    torch.manual_seed(0)
    x = draw(*shape)
    model = cimsim.convert(make(), profile, **settings)
    return (cimsim.calibrate(model, [x]) if x.numel() else model), x


def train_a_step(model: nn.Module, x: Tensor) -> None:
    for p in model.parameters():
        p.grad = None
    model.train()(x).square().sum().backward()
    assert all(layer.weight.grad is not None for layer in analog_layers(model).values())


# Inference mode leaves nothing behind.


def everything_on_a_chip(model: nn.Module, x: Tensor) -> None:
    model.eval()
    cimsim.calibrate(model, [x])
    cimsim.program(model, 3)
    cimsim.age(model, "1h")
    recalibrate(model, [x])


@QUIET
@EVERY_LAYER
def test_validation_in_inference_mode_changes_nothing(kind: str) -> None:
    model, x = built(kind)
    if not x.numel():
        return
    with torch.inference_mode():
        model.eval()(x)
        everything_on_a_chip(model, x)
    train_a_step(model, x)
    wanted = x.clone().requires_grad_()
    cimsim.program(model.eval(), 5)
    with torch.inference_mode():
        seen = model(x)
    model(wanted).sum().backward()  # the same chip, now for a saliency map
    assert wanted.grad is not None
    assert torch.equal(cimsim.program(model, 5)(x), seen)


@EVERY_PROFILE
def test_a_model_made_in_inference_mode_trains(name: str) -> None:
    layer = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Linear(16, 4))
    with torch.inference_mode():
        model = cimsim.convert(layer, name)
        everything_on_a_chip(model, draw(6, 8))
        model(draw(200, 8))  # larger than any batch before
        reestimate(model, [draw(6, 8)])
    train_a_step(model, draw(6, 8))
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    model.eval()(draw(6, 8).requires_grad_()).sum().backward()


@pytest.mark.parametrize("name", [quantizer.name for quantizer in QUANTIZERS])
def test_quantizers_and_denoisers_survive_inference_mode(name: str) -> None:
    x = draw(32, 8)
    inputs = name if QUANTIZERS.make(name).for_inputs else None
    with torch.inference_mode():
        model = cimsim.convert(
            nn.Linear(8, 4), NOISY, quantize_weights=name, quantize_inputs=inputs, denoise=0.01
        )
        cimsim.calibrate(model, [x])
        model.eval()(x)
    train_a_step(model, x)


# Layers that no batch reaches.


class Branches(nn.Module):
    """Two branches; a batch takes one of them, or both."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4))
        self.b = nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4))
        self.taken = "ab"

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.get_submodule(name)(x) for name in self.taken]).sum(0)


VERBS: dict[str, Callable[[nn.Module, list[Tensor]], nn.Module]] = {
    "calibrate": cimsim.calibrate,
    "recalibrate": recalibrate,
    "reestimate": reestimate,
    "denoise": cimsim.nn.denoise,
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("name", ["generic-gaussian", "pcm-ibm-2020"])
def test_what_no_batch_reaches_stays_as_it_was(
    verb: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    model = cimsim.convert(Branches(), name, denoise=0.01)
    cimsim.calibrate(model, [draw(50, 8) * 3])
    train_a_step(model, draw(50, 8))
    before = {key: value.clone() for key, value in model.b.state_dict().items()}
    reached = {key: value.clone() for key, value in model.a.state_dict().items()}
    model.taken = "a"
    VERBS[verb](model, [draw(50, 8) * 7])
    after = model.b.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())
    assert any(not torch.equal(model.a.state_dict()[k], v) for k, v in reached.items())
    assert f"{verb}: no batch reached 'b." in caplog.text


def test_a_layer_that_was_never_reached_has_no_range() -> None:
    model = cimsim.convert(Branches(), STATIC)
    model.taken = "a"
    cimsim.calibrate(model, [draw(50, 8), draw(0, 8)])
    model.taken = "b"
    with pytest.raises(CimsimError, match=r"layer 'b\.0' have no range yet"):
        model.eval()(draw(5, 8))
    cimsim.calibrate(model, [draw(50, 8)], missing=True)
    model(draw(5, 8))


@pytest.mark.parametrize("verb", VERBS)
def test_a_signal_that_is_not_finite_leaves_everything_as_it_was(verb: str) -> None:
    model = cimsim.convert(Branches(), NOISY, denoise=0.01)
    cimsim.calibrate(model, [draw(50, 8)])
    train_a_step(model, draw(50, 8))
    before = {key: value.clone() for key, value in model.state_dict().items()}

    def batches() -> Any:
        yield draw(50, 8)
        raise KeyError("the data end here")

    with pytest.raises(KeyError):
        VERBS[verb](model, batches())
    if "calibrate" in verb:
        with pytest.raises(CimsimError, match="not finite"):
            VERBS[verb](model, [draw(50, 8) / 0])
    assert all(torch.equal(model.state_dict()[key], value) for key, value in before.items())


def test_statistics_that_a_block_does_not_reach_are_restored() -> None:
    norms = {"reached": nn.BatchNorm1d(3), "unreached": nn.BatchNorm1d(3)}
    for norm in norms.values():
        norm(draw(9, 3) + 5)
    with averaging(norms, "test"):
        norms["reached"](draw(9, 3, seed=2) - 5)
    assert norms["reached"].running_mean is not None
    assert (norms["reached"].running_mean < -4).all()
    assert norms["unreached"].running_mean is not None
    assert (norms["unreached"].running_mean > 0.4).all()  # a tenth of 5, its momentum


# Full scale is inside.


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("back_end", BACK_ENDS)
@pytest.mark.parametrize("bits", [2, 6, 8, 16])
@pytest.mark.parametrize("rule", ["E", "F"])
def test_an_input_at_full_scale_keeps_its_gradient(
    dtype: torch.dtype, back_end: kernels.Use, bits: int, rule: str
) -> None:
    layer = cimsim.convert(nn.Linear(8, 3, dtype=dtype), device(dac=bits, adc=8), rule=rule)
    for amplitude in torch.linspace(0.05, 3.0, 20).tolist():
        x = (draw(16, 8) > 0).to(dtype) * amplitude
        cimsim.calibrate(layer, [x])
        x.requires_grad_()
        with kernels.use(back_end):
            layer.train()(x).sum().backward()
        assert x.grad is not None
        assert (x.grad[x > 0] != 0).all(), amplitude


@pytest.mark.parametrize("back_end", BACK_ENDS)
@pytest.mark.parametrize("beyond", [0.9, 1.0, 1.0 + EDGE / 2, 1.0 + 3 * EDGE, 1.5, -1.5])
@pytest.mark.parametrize("shares", [False, True])
def test_inside_means_the_same_everywhere(
    back_end: kernels.Use, beyond: float, shares: bool
) -> None:
    layer = cimsim.convert(nn.Linear(8, 3), device(dac=8, adc=8))
    assert isinstance(layer, AnalogLayer)
    layer.dac_range.fill_(0.7)
    layer.adc_range.fill_(100.0)
    x = torch.full((20, 8), 0.7 * beyond, requires_grad=True)
    with kernels.use(back_end):
        layer.train()(x.relu() if shares and beyond > 0 else x * 1.0).sum().backward()
    assert x.grad is not None
    assert (x.grad != 0).all() == (abs(beyond) <= 1.0 + EDGE)


@pytest.mark.parametrize("back_end", BACK_ENDS)
@pytest.mark.parametrize("bits", [4, 8])
def test_a_current_at_full_scale_keeps_its_gradient(back_end: kernels.Use, bits: int) -> None:
    """The ADC's range is the largest current of the calibration, found by another product."""
    from cimsim.profile import override_profile

    profile = override_profile(
        device(dac=None, adc=bits), {"adc.range": {"kind": "max"}, "array.rows": 100}
    )
    for seed in range(20):
        layer = cimsim.convert(nn.Linear(300, 1, bias=False), profile)
        x = draw(1, 300, seed=seed)
        cimsim.calibrate(layer, [x])
        x.requires_grad_()
        with kernels.use(back_end):
            layer.train()(x).sum().backward()
        assert x.grad is not None
        assert (x.grad != 0).all(), seed


# A chip follows the weights, whatever writes them.


def by_vector(p: nn.Parameter) -> None:
    nn.utils.vector_to_parameters(torch.zeros(p.numel()), [p])


def by_replacing(p: nn.Parameter) -> None:
    p.data = torch.zeros_like(p)


def in_place(p: nn.Parameter) -> None:
    p.data.zero_()


def by_merging(p: nn.Parameter) -> None:
    p.data += -p.data


def one_value(p: nn.Parameter) -> None:
    p.data.view(-1)[-1] = 5.0


def through_numpy(p: nn.Parameter) -> None:
    p.detach().numpy()[...] = 0.0


def by_init(p: nn.Parameter) -> None:
    nn.init.constant_(p, 0.25)


def as_an_ema_does(p: nn.Parameter) -> None:
    p.data.lerp_(torch.ones_like(p), 0.5)


def by_swapping_two(p: nn.Parameter) -> None:
    flat = p.data.view(-1)
    flat[[0, -1]] = flat[[-1, 0]].clone()


WRITERS = [
    *(by_vector, by_replacing, in_place, by_merging, one_value, through_numpy, by_init),
    *(as_an_ema_does, by_swapping_two),
]


@QUIET
@EVERY_LAYER
@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_a_chip_follows_every_write(kind: str, write: Callable[[nn.Parameter], None]) -> None:
    model, x = built(kind, STATIC)
    cimsim.program(model.eval(), 1)
    model(x)
    layer = list(analog_layers(model).values())[-1]
    write(layer.weight)
    followed = layer.programmed_weight()
    assert torch.equal(followed, _fresh(layer))


def _fresh(layer: AnalogLayer) -> Tensor:
    layer._chip.clear()
    return layer.programmed_weight()


@pytest.mark.parametrize("back_end", BACK_ENDS)
@pytest.mark.parametrize("optimizer", ["Adam", "AdamW", "SGD", "Adagrad"])
@pytest.mark.parametrize("how", ["fused", "foreach", "plain"])
def test_a_chip_in_evaluation_trains_with_every_optimizer(
    back_end: kernels.Use, optimizer: str, how: str
) -> None:
    if how == "foreach" and optimizer == "Adagrad":
        pytest.skip("Adagrad has no such form on the CPU")
    layer = cimsim.calibrate(cimsim.convert(nn.Linear(8, 4), STATIC), [draw(64, 8)]).eval()
    settings = {} if how == "plain" else {how: True}
    steps = getattr(torch.optim, optimizer)(layer.parameters(), lr=0.1, **settings)
    x, y = draw(64, 8), draw(64, 8) @ draw(8, 4, seed=3)
    with kernels.use(back_end):
        for _ in range(3):
            before = layer(x)
            steps.zero_grad()
            (before - y).square().mean().backward()
            steps.step()
            assert not torch.equal(layer(x), before)
        held = layer.programmed_weight()
        assert torch.equal(held, _fresh(layer))


def test_a_chip_follows_what_its_quantizer_learns() -> None:
    layer = cimsim.convert(nn.Linear(8, 4), STATIC, quantize_weights="lsq:bits=4")
    cimsim.calibrate(layer, [draw(9, 8)]).eval()
    before = layer.programmed_weight()
    layer.weight_quantizer.step.data *= 2
    assert not torch.equal(layer.programmed_weight(), before)


def test_a_chip_is_not_programmed_again_without_need() -> None:
    layer = cimsim.calibrate(cimsim.convert(nn.Linear(8, 4), STATIC), [draw(9, 8)]).eval()
    layer(draw(9, 8))
    chip = layer._chip.chip
    with torch.no_grad():
        layer.weight.add_(0.0)
    layer(draw(9, 8))
    assert layer._chip.chip is chip


@pytest.mark.parametrize("outputs", [2, 6])
def test_a_layer_may_be_resized(outputs: int) -> None:
    torch.manual_seed(0)
    for layer, shape in ((nn.Linear(8, 4), (outputs, 8)), (nn.Conv2d(2, 4, 3), (outputs, 2, 3, 3))):
        x = draw(5, 8) if len(shape) == 2 else draw(5, 2, 6, 6)
        analog = cimsim.calibrate(cimsim.convert(layer, device(dac=12, adc=12)), [x]).eval()
        analog(x)
        analog.weight.data, analog.bias.data = 0.2 * draw(*shape), draw(outputs)
        if len(shape) == 2:
            analog.out_features = outputs
        else:
            analog.out_channels = outputs
        right = cimsim.nn.to_digital(analog)(x)
        assert analog(x).shape == right.shape
        assert (analog(x) - right).norm() < 0.5 * right.norm()  # the ranges are the old ones


@pytest.mark.parametrize(
    "change",
    [
        {"stride": (2, 1)},
        {"padding": (1, 2)},
        {"dilation": (2, 2), "padding": (2, 2)},
        {"padding": "same", "_reversed_padding_repeated_twice": [1, 1, 1, 1]},
        {
            "padding": (1, 1),
            "padding_mode": "circular",
            "_reversed_padding_repeated_twice": [1, 1, 1, 1],
        },
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
def test_a_convolution_may_have_another_geometry(kind: Any, change: dict[str, Any]) -> None:
    """As networks for segmentation dilate those of a classifier."""
    if kind is nn.ConvTranspose2d and ("padding_mode" in change or "same" in change.values()):
        pytest.skip("only zeros, and no padding by name")
    torch.manual_seed(0)
    x = draw(3, 2, 9, 9)
    analog = cimsim.calibrate(cimsim.convert(kind(2, 4, 3), device(dac=12, adc=12)), [x]).eval()
    analog(x)
    vars(analog).update(change)
    right = cimsim.to_digital(analog)(x)
    assert analog(x).shape == right.shape
    cimsim.calibrate(analog, [x])
    assert (analog(x) - right).norm() < 0.01 * right.norm()
    analog.train()(x).sum().backward()


def test_more_inputs_need_a_new_calibration() -> None:
    analog = cimsim.calibrate(cimsim.convert(nn.Linear(8, 4), STATIC), [draw(5, 8)])
    analog.weight.data, analog.in_features = draw(4, 2000), 2000
    with pytest.raises(CimsimError, match="no range yet"):
        analog(draw(5, 2000))


# Names of draws.


@pytest.mark.parametrize("seed", [7, np.int64(7), np.uint8(7), torch.tensor(7)], ids=repr)
def test_a_seed_is_a_number_whatever_its_type(seed: Any) -> None:
    layer = cimsim.calibrate(cimsim.convert(nn.Linear(8, 4), STATIC), [draw(9, 8)]).eval()
    wanted = cimsim.program(layer, 7)(draw(9, 8))
    assert torch.equal(cimsim.program(layer, seed)(draw(9, 8)), wanted)


@pytest.mark.parametrize("seed", [1, True, np.int64(1), torch.tensor(1)], ids=repr)
def test_a_seed_of_training_is_a_number_whatever_its_type(seed: Any) -> None:
    outputs = []
    for given in (1, seed):
        torch.manual_seed(0)
        layer = cimsim.convert(nn.Linear(8, 4), STATIC, seed=given)
        outputs.append(cimsim.calibrate(layer, [draw(9, 8)]).train()(draw(9, 8)))
    assert torch.equal(*outputs)


@pytest.mark.parametrize("seed", [7.0, "7", None, torch.tensor([1, 2])])
def test_what_is_no_seed(seed: Any) -> None:
    with pytest.raises(CimsimError, match="a seed must be an integer, not"):
        cimsim.program(cimsim.convert(nn.Linear(8, 4), STATIC), seed)
    with pytest.raises(CimsimError, match="a seed must be an integer, not"):
        cimsim.convert(nn.Linear(8, 4), STATIC, seed=seed)


@pytest.mark.parametrize("seed", [2**63, -(2**63) - 1])
def test_a_seed_that_no_checkpoint_can_hold(seed: int) -> None:
    with pytest.raises(CimsimError, match="a training seed must be between"):
        cimsim.convert(nn.Linear(8, 4), STATIC, seed=seed)


# Checkpoints that went through other people's hands.


@pytest.mark.parametrize("assign", [True, False])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_checkpoint_in_another_dtype(dtype: torch.dtype, assign: bool) -> None:
    model = cimsim.calibrate(cimsim.convert(nn.Linear(8, 4), STATIC, seed=3), [draw(9, 8)])
    model.draws = 5
    state = {name: values.to(dtype) for name, values in model.state_dict().items()}
    other = cimsim.convert(nn.Linear(8, 4), STATIC)
    other.load_state_dict(state, assign=assign)
    assert (other.seed, other.draws, type(other.seed)) == (3, 5, int)
    assert other.dac_range.dtype == other.adc_range.dtype == torch.float32
    torch.testing.assert_close(other.dac_range, model.dac_range, rtol=1e-2, atol=0)
    assert other.eval()(draw(9, 8).to(other.weight.dtype)).isfinite().all()


def test_checkpoints_may_be_averaged() -> None:
    """Also their counts, as those who average a whole state dict do."""
    models = [cimsim.calibrate(cimsim.convert(nn.Linear(8, 4), STATIC, seed=3), [draw(9, 8)])
              for _ in range(3)]  # fmt: skip
    for draws, model in enumerate(models, start=5):
        model.draws = draws
    states = [model.state_dict() for model in models]
    mean = {name: torch.stack([s[name].float() for s in states]).mean(0) for name in states[0]}
    models[0].load_state_dict(mean)
    assert (models[0].seed, models[0].draws, type(models[0].draws)) == (3, 6, int)
    assert models[0].eval()(draw(9, 8)).isfinite().all()


@pytest.mark.parametrize(
    "extra", [torch.tensor([1, 2, 3]), torch.tensor([0.0, torch.inf]), {"a": 1}]
)
def test_a_checkpoint_with_another_extra_state(extra: Any) -> None:
    model = cimsim.convert(nn.Linear(8, 4), STATIC)
    with pytest.raises(CimsimError, match="is not the pair of seed and draws"):
        model.load_state_dict({**model.state_dict(), "_extra_state": extra})
    assert model.seed == 0


@pytest.mark.parametrize("bad", [torch.inf, torch.nan, -1.0, 0.0])
@pytest.mark.parametrize("name", ["dac_range", "adc_range"])
def test_a_checkpoint_whose_ranges_are_none(name: str, bad: float) -> None:
    model = cimsim.calibrate(cimsim.convert(nn.Linear(8, 4), STATIC), [draw(9, 8)])
    state = model.state_dict()
    model.load_state_dict({**state, name: torch.full_like(state[name], bad)})
    with pytest.raises(CimsimError, match="have no range yet"):
        model(draw(9, 8))


@pytest.mark.parametrize("age", [3600, 3600.0, "1h", np.float32(3600), torch.tensor(3600.0)])
def test_an_age_is_a_number_whatever_its_type(age: Any) -> None:
    assert cimsim.age(cimsim.convert(nn.Linear(8, 4), STATIC), age).age_s == 3600.0


@pytest.mark.parametrize("seeds", [(0, 0), (1, 2)])
def test_layers_converted_apart_are_refused(seeds: tuple[int, int]) -> None:
    model = nn.Sequential(*(cimsim.convert(nn.Linear(4, 4), STATIC, seed=s) for s in seeds))
    with pytest.raises(CimsimError, match="layers '0' and '1' would sample the same noise"):
        cimsim.calibrate(model, [draw(9, 4)])


# Inputs and weights of other types.


@QUIET
@EVERY_LAYER
@pytest.mark.parametrize("dtype", [torch.complex64, torch.int64, torch.uint8, torch.bool])
def test_an_input_that_is_not_real_is_refused(kind: str, dtype: torch.dtype) -> None:
    model, x = built(kind)
    if not x.numel():
        return
    with pytest.raises((CimsimError, RuntimeError), match=r"dtype|floating-point|same type"):
        model(x.to(dtype))


@pytest.mark.parametrize("layer", registry._ANALOG)
def test_complex_weights_are_refused(layer: type[nn.Module]) -> None:
    sizes = (4, 4) if layer is nn.Linear else (4, 4, 1)
    model = nn.Sequential(layer(*sizes, dtype=torch.complex64), nn.Linear(4, 4))
    with pytest.raises(CimsimError, match=r"'0'.*complex64, and cells hold real numbers"):
        cimsim.convert(model, "ideal")
    assert isinstance(cimsim.convert(model, "ideal", keep_digital=["0"])[1], AnalogLayer)
    converted = cimsim.convert(nn.Linear(4, 4), "ideal")
    converted.weight.data = converted.weight.data.to(torch.complex64)
    with pytest.raises(CimsimError, match="weights of torch"):
        converted(draw(3, 4).to(torch.complex64))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e6])
@pytest.mark.parametrize("learned", [False, True])
def test_ranges_stay_precise_in_every_dtype(
    dtype: torch.dtype, scale: float, learned: bool
) -> None:
    ranges = {"dac.range": {"kind": "learned"}, "adc.range": {"kind": "learned"}} if learned else {}
    profile = cimsim.load_profile("generic-gaussian", ranges)
    model = cimsim.convert(nn.Linear(8, 4), profile)
    cimsim.calibrate(model, [draw(30, 8) * scale])
    before = model.dac_range.clone(), model.adc_range.clone()
    model.to(dtype)
    assert model.weight.dtype == dtype
    assert torch.equal(model.dac_range, before[0])
    assert torch.equal(model.adc_range, before[1])
    assert model.dac_range.requires_grad == learned
    if scale == 1.0:
        train_a_step(model, draw(30, 8).to(dtype))


# Nothing, and next to nothing.


@QUIET
@EVERY_LAYER
@pytest.mark.parametrize("training", [False, True])
def test_an_empty_batch_gives_what_torch_gives(kind: str, training: bool) -> None:
    make, shape = LAYERS[kind]
    model, _ = built(kind, quantize_inputs="lsq:bits=4", quantize_weights="lsq:bits=4")
    digital = make()
    at = 1 if kind in ("attention, more keys", "rnn", "gru") else 0
    if "unbatched" in kind or len(shape) == 1 or kind.startswith("lstm, projected"):
        pytest.skip("has no batch")
    if kind == "transposed 2d, no bias":
        pytest.skip("has no batch")
    empty = [0 if axis == at else size for axis, size in enumerate(shape)]
    x, same = (torch.zeros(empty, requires_grad=True) for _ in range(2))
    try:
        wanted = digital.train(training)(same)
    except Exception:
        pytest.skip("torch itself takes no empty batch here")
    y = model.train(training)(x)
    assert y.shape == wanted.shape
    y.sum().backward()
    assert x.grad is not None
    for layer in analog_layers(model).values():
        assert layer.weight.grad is not None
        assert not layer.weight.grad.any()


@EVERY_PROFILE
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_device_takes_an_empty_batch(name: str, dtype: torch.dtype) -> None:
    model = cimsim.convert(nn.Linear(8, 4, dtype=dtype), name)
    cimsim.calibrate(model, [draw(20, 8, dtype=dtype), draw(0, 8, dtype=dtype)])
    for mode in (True, False):
        x = torch.zeros(0, 8, dtype=dtype, requires_grad=True)
        y = model.train(mode)(x)
        y.sum().backward()
        assert (y.shape, y.dtype) == ((0, 4), dtype)
        assert x.grad is not None


@EVERY_PROFILE
@pytest.mark.parametrize("back_end", BACK_ENDS)
@pytest.mark.parametrize("kind", ["linear, no bias", "conv, depthwise"])
def test_the_unit_of_the_input_does_not_matter(name: str, back_end: kernels.Use, kind: str) -> None:
    """``y(s x) = s y(x)``; powers of two are exact, so that no code may change."""
    make, shape = LAYERS[kind]
    torch.manual_seed(0)
    digital, x = make(), draw(*shape)
    outputs = []
    with kernels.use(back_end):
        for scale in (1.0, *(2.0**-exponent for exponent in (20, 45, 66, 90))):
            model = cimsim.convert(digital, name).eval()
            cimsim.calibrate(model, [x * scale])
            outputs.append(model(x * scale).double() / scale)
    for y in outputs[1:]:
        assert (y - outputs[0]).norm() < 1e-4 * outputs[0].norm()


@pytest.mark.parametrize("name", [q.name for q in QUANTIZERS if q.for_inputs])
def test_no_quantizer_cuts_small_inputs(name: str) -> None:
    digital, x = nn.Linear(8, 4, bias=False), draw(20, 8)
    outputs = []
    for scale in (1.0, 2.0**-45, 2.0**-66):
        model = cimsim.convert(digital, "ideal", quantize_inputs=name).eval()
        outputs.append(model(x * scale))
    relative = [y.double() / y.double().norm() for y in outputs]  # signs have no scale
    assert all((y - relative[0]).norm() < 1e-4 for y in relative)


def test_a_signal_below_every_range_is_refused() -> None:
    with pytest.raises(CimsimError, match="scale the data up"):
        cimsim.calibrate(cimsim.convert(nn.Linear(8, 4), STATIC), [draw(9, 8) * 1e-35])


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_silence_is_no_error(noise: float) -> None:
    profile = device(programming=[gaussian(0.05)], read=[gaussian(noise)], dac=8, adc=8)
    model = cimsim.convert(nn.Linear(8, 4), profile)
    cimsim.calibrate(model, [torch.zeros(5, 8)])
    assert model(torch.zeros(5, 8)).isfinite().all()


PER_TILE = override_profile(device(rows=4, dac=8, adc=8), {"adc.range_per": "tile"})


@pytest.mark.parametrize("silent", ["input", "weight"])
@pytest.mark.parametrize("profile", [STATIC, PER_TILE], ids=["one range", "one for each tile"])
def test_silence_leaves_ranges_that_are_known(
    profile: Any, silent: str, caplog: pytest.LogCaptureFixture
) -> None:
    model = cimsim.calibrate(cimsim.convert(nn.Linear(8, 4), profile), [draw(9, 8)])
    before = [model.dac_range.clone(), model.adc_range.clone()]
    if silent == "input":
        cimsim.calibrate(model, [torch.zeros(5, 8)])
        assert torch.equal(model.dac_range, before[0])
    else:
        nn.init.zeros_(model.weight)
        cimsim.calibrate(model, [2 * draw(9, 8)])
        torch.testing.assert_close(model.dac_range, 2 * before[0])
    assert torch.equal(model.adc_range, before[1])
    assert "were 0, because weights or inputs are 0" in caplog.text


def test_a_silent_tile_keeps_its_range_and_the_others_get_theirs() -> None:
    model = cimsim.calibrate(cimsim.convert(nn.Linear(8, 4), PER_TILE), [draw(9, 8)])
    before = model.adc_range.clone()
    first_only = 3 * draw(9, 8) * torch.tensor([1.0] * 4 + [0.0] * 4)
    cimsim.calibrate(model, [first_only])
    assert model.adc_range[0] > 2 * before[0]
    assert model.adc_range[1] == before[1]
