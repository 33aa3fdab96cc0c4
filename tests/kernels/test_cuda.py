"""The Triton kernels against the plain physics: on a GPU, or interpreted on the CPU.

Both draw the same numbers, so the tests compare results, as those of the CPU's kernels do.
"""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

import cimsim
from cimsim import kernels
from cimsim.array import Array, LinearTiling
from cimsim.kernels.packing import pack_curve
from cimsim.nn.layer import AnalogLayer
from cimsim.profile import (
    CappedPower,
    ClippedLog,
    LogPolynomial,
    Piecewise,
    Polynomial,
    Saturating,
    Table,
    load_profile,
    profile_names,
)
from tests.building import device as made

pytest.importorskip("triton")
ON_GPU = torch.cuda.is_available()
DEVICE = "cuda" if ON_GPU else "cpu"
if not ON_GPU and os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("no CUDA device, and Triton does not interpret", allow_module_level=True)

from cimsim.kernels import cuda, cuda_check  # noqa: E402
from cimsim.kernels.types import Dac  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::RuntimeWarning")


@pytest.fixture(autouse=True)
def everything_on_these_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    def serving(*tensors: Tensor | None) -> ModuleType | None:
        known = (torch.float32, torch.bfloat16, torch.float16)
        return cuda if all(t is None or t.dtype in known for t in tensors) else None

    monkeypatch.setattr(kernels, "_serving", serving)


def built(make: nn.Module, x: Tensor, name: str, rule: str = "F") -> AnalogLayer:
    profile = cimsim.load_profile(name, {"array.rows": 40})
    layer = cimsim.calibrate(cimsim.convert(make, profile, rule=rule).to(DEVICE), [x])
    assert isinstance(layer, AnalogLayer)
    layer.adc_range.mul_(0.5)
    cimsim.age(layer, 3600.0)
    return layer


def step(layer: AnalogLayer, x: Tensor, which: kernels.Use) -> list[Tensor]:
    layer.draws = 0
    x = x.detach().requires_grad_()
    with kernels.use(which):
        y = layer.train()(x)
        delta = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(DEVICE)
        wanted = [p for p in (x, layer.weight, layer.bias) if p is not None]
        return [y.detach(), *torch.autograd.grad(y, wanted, delta)]


LAYERS = {
    "linear": (lambda: nn.Linear(70, 5), (5, 70)),
    "linear, multiples of four": (lambda: nn.Linear(72, 4), (5, 72)),
    "conv": (lambda: nn.Conv2d(6, 5, 3, padding=1), (2, 6, 5, 7)),
    "conv in groups": (lambda: nn.Conv2d(4, 6, 3, stride=2, groups=2), (2, 4, 7, 7)),
}


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("name", ["generic-gaussian", "pcm-ibm-2020"])
@pytest.mark.parametrize("rule", [*(pytest.param(r, marks=pytest.mark.long) for r in "CE"), "F"])
def test_a_step_is_the_step_of_the_plain_physics(kind: str, name: str, rule: str) -> None:
    make, shape = LAYERS[kind]
    torch.manual_seed(0)
    x = torch.randn(shape).to(DEVICE)
    layer = built(make(), x, name, rule)
    fused, plain = (step(layer, x, which) for which in ("fused", "numbers"))
    tolerance = 1e-4 * plain[0].abs().max() + 1e-3 * plain[0].abs()
    wrong = ((fused[0] - plain[0]).abs() > tolerance).float().mean().item()
    assert wrong <= 0.05  # read noise by variances in bf16, and codes next to a threshold
    for got, expected in zip(fused[1:], plain[1:], strict=True):
        assert torch.allclose(got, expected, rtol=2e-2, atol=2e-2 * expected.abs().max().item())


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize(
    "name", [pytest.param("generic-gaussian", marks=pytest.mark.long), "pcm-ibm-2020"]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_step_under_autocast_is_that_of_the_plain_physics(
    kind: str, name: str, dtype: torch.dtype
) -> None:
    make, shape = LAYERS[kind]
    torch.manual_seed(0)
    x = torch.randn(shape).to(DEVICE)
    layer = built(make(), x, name)
    low = x.bfloat16()
    assert layer.array.reads_low(low, layer.weight, layer.bias, torch.bfloat16)
    assert not layer.array.reads_low(low, layer.weight.double(), None, torch.bfloat16)
    with torch.autocast(DEVICE, dtype=torch.bfloat16):
        fused, plain = (step(layer, x.to(dtype), which) for which in ("fused", "numbers"))
    assert [t.dtype for t in fused] == [t.dtype for t in plain]
    # Operands are rounded to 8 bits before or after they are scaled: codes next to a threshold.
    lsb = (plain[0].max() - plain[0].min()).item() / 64
    assert (fused[0] - plain[0]).abs().max().item() < lsb
    for got, expected in zip(fused[1:], plain[1:], strict=True):
        both = got.float().flatten(), expected.float().flatten()
        assert torch.nn.functional.cosine_similarity(*both, 0) > 0.98


PROGRAMMED = [name for name in profile_names() if kernels.pack(load_profile(name)) is not None]


@pytest.mark.parametrize("name", PROGRAMMED)
def test_a_chip_is_the_chip_of_the_plain_physics(name: str) -> None:
    array = Array(load_profile(name, {"array.rows": 20}), LinearTiling(30, 20))
    w = torch.randn(3, 30, generator=torch.Generator().manual_seed(0)).to(DEVICE)
    w[1] = 0.0  # a column of nothing
    w[2, 7] = 0.0
    for age_s in (0.0, 3600.0):
        chips = []
        for which in ("fused", "numbers"):
            with kernels.use(which):
                chips.append(array.chip(w, 5, age_s))
        fused, plain = chips
        largest = plain.relative.abs().max().item()
        assert torch.allclose(fused.relative, plain.relative, rtol=1e-4, atol=2e-5 * largest)
        assert torch.allclose(fused.scale, plain.scale, rtol=1e-4)
        assert (fused.read_variance is None) == (plain.read_variance is None)
        if plain.read_variance is not None:
            assert fused.read_variance is not None
            got = fused.read_variance.float()
            assert torch.allclose(got, plain.read_variance, rtol=8e-3, atol=1e-9)


@pytest.mark.parametrize("name", PROGRAMMED)
@pytest.mark.parametrize("read_first", [pytest.param(False, marks=pytest.mark.long), True])
def test_the_gradient_of_programming_is_that_of_the_plain_physics(
    name: str, read_first: bool
) -> None:
    array = Array(load_profile(name, {"array.rows": 20}), LinearTiling(30, 20))
    draws = torch.Generator().manual_seed(0)
    w = torch.randn(3, 30, generator=draws).to(DEVICE)
    gradient = torch.randn(2, 3, 15, generator=draws).to(DEVICE)
    found = []
    for which in ("fused", "numbers"):
        with kernels.use(which):
            scale = array.chip(w, 5, 3600.0).scale
            cells = array.programmed(w, 5, 3600.0, scale)
            if read_first:  # the cells are kept, and not computed again
                assert cells.values.shape == gradient.shape
            found.append(cells.vjp(gradient, None))
    fused, plain = found
    assert torch.allclose(fused, plain, rtol=1e-3, atol=1e-4 * plain.abs().max().item())


@pytest.mark.parametrize("name", PROGRAMMED)
def test_weights_of_zero_have_the_gradient_of_the_plain_physics(name: str) -> None:
    """The slope at zero is the mean of those of both cells of a pair."""
    array = Array(load_profile(name, {"array.rows": 20}), LinearTiling(12, 20))
    draws = torch.Generator().manual_seed(0)
    w = torch.randn(3, 12, generator=draws).to(DEVICE)
    w[0, ::2], w[1, ::3], w[2] = 0.0, -0.0, 0.0
    gradient = torch.randn(1, 3, 12, generator=draws).to(DEVICE)
    scale = array.chip(w, 5, 3600.0).scale
    with kernels.use("numbers"):
        plain = array.programmed(w, 5, 3600.0, scale).vjp(gradient, None)
    for kept in (False, True):
        cells = array.programmed(w, 5, 3600.0, scale)
        if kept:
            assert cells.values.shape == gradient.shape
        fused = cells.vjp(gradient, None)
        for got, expected in zip(fused, plain, strict=True):  # the scale of an empty column is tiny
            atol = 1e-4 * expected.abs().max().item()
            assert torch.allclose(got, expected, rtol=1e-3, atol=atol)


def test_every_curve_is_that_of_the_plain_physics() -> None:
    line = Polynomial(coefficients=(0.1, 1.0))
    curves = [
        Polynomial(coefficients=(0.3, 0.2, -0.1)),
        ClippedLog(slope=-0.4, intercept=0.1, min=0.05, max=0.9),
        CappedPower(coefficient=0.02, exponent=-0.65, max=0.2),
        LogPolynomial(coefficients=(0.2, 0.1, 0.05)),
        Saturating(amplitude=0.6, scale=0.3),
        Table(r=(0.0, 0.4, 1.0), values=(0.1, 0.7, 0.3)),
        Piecewise(at=0.5, below=line, above=Polynomial(coefficients=(0.6,))),
    ]
    assert {type(curve) for curve in curves} == set(pack_curve.registry) - {object}
    for curve in curves:
        effect = {"kind": "state-dependent", "g_ref_uS": 25.0, "sigma_uS": curve.model_dump()}
        profile = load_profile(
            "pcm-ibm-2020", {"array.rows": 40, "cell.programming_noise": [effect]}
        )
        array = Array(profile, LinearTiling(30, 40))
        assert array.packed is not None
        w = torch.randn(2, 30, generator=torch.Generator().manual_seed(0)).to(DEVICE)
        chips = []
        for which in ("fused", "numbers"):
            with kernels.use(which):
                chips.append(array.chip(w, 5, 0.0).relative)
        assert torch.allclose(*chips, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("n", [1, 7, 8, 9, 1023, 1025])
def test_codes_and_masks_of_any_length(n: int) -> None:
    x = (10 * torch.randn(n, generator=torch.Generator().manual_seed(n))).to(DEVICE)
    dac = Dac(torch.tensor(8.0, device=DEVICE), 127, -127)
    codes = cuda.encode(x, dac, None, torch.bfloat16, want_stored=True, want_mask=True)
    expected = (x / dac.size).clamp(-127, 127).round()
    assert torch.equal(codes.values, expected)
    assert codes.stored is not None
    assert torch.equal(codes.stored, expected.to(torch.int8))
    assert codes.squares is not None
    assert torch.allclose(
        codes.squares.float(), expected.square(), rtol=8e-3
    )  # interpreted, it truncates
    assert codes.mask is not None
    dx = torch.ones_like(x)
    cuda.mask_gradient(dx, None, codes.mask, dac)
    again = torch.ones_like(x)
    cuda.mask_gradient(again, x, None, dac)
    assert torch.equal(dx, again)
    assert torch.equal(dx.bool(), x.abs() <= 8.0)


@pytest.mark.parametrize("n", [1, 7, 1025])
@pytest.mark.parametrize("by_mask", [False, True])
def test_gradient_of_the_range(n: int, by_mask: bool) -> None:
    draws = torch.Generator().manual_seed(n)
    x, dx = (10 * torch.randn(2, n, generator=draws)).to(DEVICE)
    full = torch.tensor(8.0, device=DEVICE, requires_grad=True)
    steps = x / (full / 7)
    rounded = steps.clamp(-7, 7) + (steps.clamp(-7, 7).round() - steps.clamp(-7, 7)).detach()
    (expected,) = torch.autograd.grad((dx * rounded * (full / 7)).sum(), full)
    dac = Dac(full.detach(), 7, -7)
    mask = cuda.encode(x, dac, want_mask=True).mask if by_mask else None
    by_range = cuda.mask_gradient(dx, x, mask, dac, want_range=True)
    assert by_range is not None
    assert by_range.item() == pytest.approx(expected.item(), rel=1e-4, abs=1e-4)


def test_normal_numbers() -> None:
    out = torch.empty(100_000, device=DEVICE)
    cuda.normal(out, 3)
    assert abs(out.mean().item()) < 4 / 100_000**0.5
    assert abs(out.var().item() - 1) < 4 * (2 / 100_000) ** 0.5
    again = torch.empty(1000, device=DEVICE)
    cuda.normal(again, 3)
    assert torch.equal(again, out[:1000])


def test_they_are_tried_before_they_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(cuda, "scatter_to_columns", lambda dy, *others: torch.zeros_like(dy))
        with pytest.raises(RuntimeError, match="differ from those of plain torch: converters"):
            cuda_check.check(DEVICE)
    kernels._cuda.cache_clear()
    monkeypatch.setattr(cuda_check, "check", lambda device: cuda.encode(None, None))
    with pytest.warns(UserWarning, match="the GPU kernels are disabled"):
        assert kernels._cuda() is None
    kernels._cuda.cache_clear()


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_the_mode_of_the_first_use_does_not_matter(
    mode: Callable[[], AbstractContextManager[None]],
) -> None:
    torch.set_default_dtype(torch.float64)
    try:
        with mode(), torch.autocast(DEVICE, dtype=torch.bfloat16):
            cuda_check.check(DEVICE)
    finally:
        torch.set_default_dtype(torch.float32)


def test_large_inputs_in_float16_have_the_read_noise_of_float32() -> None:
    """Squares of such inputs are infinite in float16, and those of small ones are zero."""
    profile = cimsim.load_profile("pcm-ibm-2020", {"dac.bits": None})
    for size in (300.0, 1e-4):
        x = size * torch.randn(6, 20, generator=torch.Generator().manual_seed(0)).to(DEVICE)
        layer = cimsim.calibrate(cimsim.convert(nn.Linear(20, 3).to(DEVICE), profile), [x])
        layer.eval()
        results = []
        with torch.no_grad(), torch.autocast(DEVICE, dtype=torch.float16):
            for given in (x.half().float(), x.half()):
                cimsim.program(layer, 1)
                results.append(layer(given).float())
        error = (results[1] - results[0]).abs().max()
        assert error <= 0.02 * results[0].abs().max()


def test_weights_in_low_precision_are_programmed_in_plain_torch() -> None:
    weight = torch.ones(2, 3, device=DEVICE)
    assert kernels.active_programming(weight) is cuda
    assert kernels.active_programming(weight.bfloat16()) is None


def test_nan_is_not_lost() -> None:
    x = torch.randn(4, 20).to(DEVICE)
    layer = cimsim.calibrate(cimsim.convert(nn.Linear(20, 5), made(dac=8, adc=8)).to(DEVICE), [x])
    x[1, 2] = torch.nan
    y = layer(x)
    assert y[1].isnan().all()
    assert not y[2:].isnan().any()
