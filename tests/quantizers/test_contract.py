"""What every quantizer promises; a new one is tested here by being in the family."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import cimsim
from cimsim.errors import CimsimError
from cimsim.quantizers import QUANTIZERS, Quantizer, make_quantizer

VARIANTS = [
    *(part.name for part in QUANTIZERS),
    "uniform:bits=1",
    "uniform:levels=ternary",
    "uniform:bits=3,group=tensor,scale=absmean",
    "uniform:bits=2,group=5,range=0.7",
    "denoising:bits=4,group=5",
    "denoising:levels=ternary",
    "denoising:bits=4,sparsity=2:4",
    "denoising:form=linear,sparsity=0.7",
    "uniform:bits=2,levels=full",
    "uniform:bits=2,levels=unsigned,group=5",
    "lsq:bits=1",
    "lsq:bits=2,levels=full",
    "lsq:bits=2,levels=unsigned",
    "lsq:bits=3,per=row",
    "ternary:zero=plain,group=tensor",
    "stochastic-sign:shape=normal,gradient=hardtanh,relative=false,sure=false",
]


@pytest.fixture(params=VARIANTS)
def spec(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def built(spec: str, x: torch.Tensor) -> Quantizer:
    quantizer = make_quantizer(spec)
    quantizer.setup(x.detach())
    return quantizer


@pytest.mark.parametrize("shape", [(6, 8), (4, 3, 2, 2), (1, 12)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shape_dtype_and_finite_gradients(
    spec: str, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=dtype)
    quantizer = built(spec, x).to(dtype)
    for training in (True, False):
        x.requires_grad_()
        y = quantizer.train(training)(x)
        assert (y.shape, y.dtype) == (x.shape, dtype)
        (gradient,) = torch.autograd.grad(y.square().sum(), x)
        assert gradient.isfinite().all()


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_rows_of_equal_numbers_are_finite(spec: str, value: float) -> None:
    """Nothing to scale by: no NaN forward or backward."""
    x = torch.full((3, 8), value, requires_grad=True)
    y = built(spec, x)(x)
    y.sum().backward()
    assert x.grad is not None
    assert y.isfinite().all()
    assert x.grad.isfinite().all()


def test_the_parameters_get_gradients(spec: str) -> None:
    x = torch.randn(6, 8, requires_grad=True)
    quantizer = built(spec, x).train()
    quantizer(x).square().sum().backward()
    for parameter in quantizer.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()


def test_the_same_name_and_count_are_the_same_draws(spec: str) -> None:
    x = torch.randn(6, 8)
    one, two = built(spec, x), built(spec, x)
    assert torch.equal(one(x), two(x))
    assert torch.equal(one(x), two(x))


def test_a_layer_with_it_trains_programs_and_reloads(spec: str) -> None:
    def model() -> nn.Module:
        torch.manual_seed(0)
        layers = nn.Sequential(nn.Conv2d(4, 4, 2), nn.ReLU(), nn.Flatten(), nn.Linear(16, 12))
        inputs = spec if make_quantizer(spec).for_inputs else None
        return cimsim.convert(layers, "mismatch", quantize_weights=spec, quantize_inputs=inputs)

    x = torch.randn(5, 4, 3, 3)
    net = model()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    for _ in range(2):
        loss = net(x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    again = model()
    again.load_state_dict(net.state_dict())
    first, second = (cimsim.program(n.eval(), 3)(x) for n in (net, again))
    if "sure=false" not in spec:
        assert torch.equal(first, second)
    assert first.isfinite().all()


def test_it_says_what_it_is(spec: str) -> None:
    quantizer = make_quantizer(spec)
    assert type(quantizer).__name__ in repr(quantizer)
    doc = type(quantizer).__doc__ or ""
    assert "Source" in doc or "reconstruction" in doc


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("unifrm", "unknown quantizer 'unifrm'; did you mean 'uniform'"),
        ("uniform:bit=2", "unknown setting 'bit'; did you mean 'bits'"),
        ("uniform:bits=two", r"bits: Input should be a valid integer.*\(got 'two'\)"),
        ("uniform:bits=99", "less than or equal to 16"),
        ("uniform:bits", "needs a value, 'bits=VALUE'"),
        ("denoising:sparsity=5:4", "sparsity must be N:M"),
        ("denoising:sparsity=1", "sparsity must be N:M"),
        ("denoising:sparsity=2:4,form=affine", "sparsity requires form=linear"),
        ("uniform:bits=4,bits=2", "bits is given twice"),
        ("sparsify:s0=nan", "s0: must be finite"),
        ("uniform:bits=1,range=2", "always use the mean magnitude"),
    ],
)
def test_what_is_wrong_is_told(spec: str, message: str) -> None:
    with pytest.raises(CimsimError, match=message):
        make_quantizer(spec)
    with pytest.raises(CimsimError, match=message):
        cimsim.convert(nn.Linear(4, 4), "ideal", quantize_weights=spec)


def test_rows_that_do_not_divide_are_refused_by_name() -> None:
    with pytest.raises(
        CimsimError, match="layer '0': rows of 6 cannot be divided into groups of 4"
    ):
        cimsim.convert(
            nn.Sequential(nn.Linear(6, 4)), "ideal", quantize_weights="denoising:sparsity=2:4"
        )


@pytest.mark.parametrize("spec", ["sparsify", "learned-noise"])
def test_what_is_for_weights_alone_is_refused_for_inputs(spec: str) -> None:
    with pytest.raises(CimsimError, match=f"quantizer '{spec}' is for weights, not for inputs"):
        cimsim.convert(nn.Linear(4, 4), "ideal", quantize_inputs=spec)


def test_codes_say_which_level_torch_class_a_number(spec: str) -> None:
    x = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
    quantizer = built(spec, x).eval()
    codes = quantizer.codes(x)
    if codes is None:
        return
    held = quantizer(x)
    assert codes.shape == x.shape
    for row_codes, row in zip(codes, held.detach(), strict=True):
        if "group=5" in spec:
            row_codes, row = row_codes[:5], row[:5]
        for code in row_codes.unique():  # one code, one value
            values = row[row_codes == code]
            assert values.max() - values.min() < 1e-5
    step = quantizer.step_size(x)
    assert step is not None
    assert step > 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_models_are_quantized_in_float32(spec: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    inputs = spec if make_quantizer(spec).for_inputs else None
    net = cimsim.convert(
        nn.Linear(64, 8), "ideal", quantize_weights=spec, quantize_inputs=inputs
    ).to(dtype)
    x = 30 * torch.randn(4, 64).to(dtype)
    x[0] = 0
    y = net(x)
    assert y.dtype == dtype
    assert y.isfinite().all()


def test_a_new_quantizer_is_a_new_chip() -> None:
    net = cimsim.convert(nn.Linear(16, 16), "ideal").eval()
    x = torch.randn(3, 16)
    with torch.no_grad():
        before = net(x)
        net.quantize("uniform:bits=1", None)
        assert not torch.allclose(net(x), before)
        with cimsim.nn.perturbed(net, lambda name, weight: 2 * weight):
            doubled = net(x)
        torch.testing.assert_close(doubled - net.bias, 2 * (net(x) - net.bias))


def test_weight_and_input_of_a_layer_draw_different_numbers() -> None:
    spec = "stochastic-sign:noise=1,sure=false,relative=false"
    net = cimsim.convert(
        nn.Linear(64, 64), "ideal", quantize_weights=spec, quantize_inputs=spec
    ).train()
    zeros = torch.zeros(64, 64)
    with torch.no_grad():
        assert not torch.equal(net.weight_quantizer(zeros), net.input_quantizer(zeros))
