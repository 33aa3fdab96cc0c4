"""The fused kernels against the plain physics: same numbers drawn, so the same results."""

import os
import pickle
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import cimsim
from cimsim import kernels
from cimsim.array import Array, LinearTiling
from cimsim.kernels.build import find_compiler
from cimsim.nn.layer import AnalogLayer
from cimsim.profile import Profile, load_profile, profile_names
from tests import children
from tests.building import ONE_OVER_F, POLYNOMIAL, device

pytestmark = pytest.mark.skipif(
    kernels.cpu.build().library is None, reason=kernels.cpu.build().note
)

LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(70, 33), (9, 70)),
    "linear of many blocks": (lambda: nn.Linear(600, 70), (5, 600)),
    "linear of many products": (lambda: nn.Linear(256, 160), (192, 256)),
    "linear, one output": (lambda: nn.Linear(7, 1), (1, 7)),
    "conv": (lambda: nn.Conv2d(6, 10, 3, padding=1), (3, 6, 9, 7)),
    "conv of many products": (lambda: nn.Conv2d(20, 32, 3, padding=1), (5, 20, 16, 14)),
    "conv of many products, strided": (lambda: nn.Conv2d(20, 24, 5, stride=2), (5, 20, 21, 19)),
    "sequence of many products": (lambda: nn.Conv1d(30, 40, 5, padding=2), (4, 30, 99)),
    "conv in groups": (lambda: nn.Conv2d(8, 12, 3, stride=2, groups=4), (2, 8, 9, 9)),
    "depthwise": (lambda: nn.Conv2d(8, 8, 3, groups=8, bias=False), (2, 8, 9, 9)),
}
SMALL_TILES = {"array.rows": 40}


def built(kind: str, profile: Profile, rule: str = "F") -> tuple[AnalogLayer, Tensor]:
    make, shape = LAYERS[kind]
    torch.manual_seed(0)
    x = torch.randn(shape)
    layer = cimsim.calibrate(cimsim.convert(make(), profile, rule=rule), [x])
    assert isinstance(layer, AnalogLayer)
    layer.adc_range.mul_(0.5)  # so that some conversions saturate
    cimsim.age(layer, 3600.0)
    return layer, x


def step(layer: AnalogLayer, x: Tensor, which: kernels.Use) -> list[Tensor]:
    """Output and gradients of one training step on the layer's first chip."""
    layer.draws = 0
    x = x.detach().requires_grad_()
    with kernels.use(which):
        y = layer.train()(x)
        delta = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
        wanted = [p for p in (x, layer.weight, layer.bias) if p is not None]
        return [y.detach(), *torch.autograd.grad(y, wanted, delta)]


def mostly_close(got: Tensor, expected: Tensor, share: float = 0.0) -> None:
    """Equal but for rounding; ``share`` of the elements may differ by more."""
    tolerance = 2e-5 * expected.abs().max() + 1e-7
    wrong = ((got - expected).abs() > tolerance).float().mean().item()
    assert wrong <= share, f"{wrong:.2%} of the elements differ"


@pytest.fixture(params=profile_names())
def profile(request: pytest.FixtureRequest) -> Profile:
    return load_profile(request.param)


def fused_profiles() -> list[str]:
    return [name for name in profile_names() if kernels.pack(load_profile(name)) is not None]


def test_the_devices_of_the_benchmarks_are_fused() -> None:
    assert {"generic-gaussian", "pcm-ibm-2020", "pcm-hermes-2023"} <= set(fused_profiles())


@pytest.mark.parametrize("rows", [512, 40])
def test_a_chip_is_the_chip_of_the_plain_physics(profile: Profile, rows: int) -> None:
    profile = profile.model_copy(update={"array": profile.array.model_copy(update={"rows": rows})})
    w = torch.randn(33, 70, generator=torch.Generator().manual_seed(0))
    w[3] = 0.0  # a column of nothing
    w[5, 7] = 0.0
    array = Array(profile, LinearTiling(70, rows))
    if array.packed is None:
        pytest.skip("left to the plain physics")
    for age_s in (0.0, 1.0, 3600.0, 3e7):
        chips = []
        for which in ("fused", "numbers"):
            with kernels.use(which):
                chips.append(array.chip(w, 5, age_s))
        fused, plain = chips
        mostly_close(fused.relative, plain.relative)
        mostly_close(fused.scale, plain.scale)
        assert (fused.read_variance is None) == (plain.read_variance is None)
        if plain.read_variance is not None:
            assert torch.allclose(
                fused.read_variance.float(), plain.read_variance, rtol=4e-3, atol=1e-12
            )


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("name", ["generic-gaussian", "pcm-ibm-2020"])
@pytest.mark.parametrize("rule", ["A", "B", "C", "E", "F"])
def test_a_step_is_the_step_of_the_plain_physics(kind: str, name: str, rule: str) -> None:
    layer, x = built(kind, cimsim.load_profile(name, SMALL_TILES), rule)
    fused, plain = (step(layer, x, which) for which in ("fused", "numbers"))
    # A current that rounding moves over a threshold is off by one code, and so are its gradients.
    mostly_close(fused[0], plain[0], share=0.02)
    for got, expected in zip(fused[1:], plain[1:], strict=True):
        assert torch.allclose(got, expected, rtol=1e-3, atol=2e-3 * expected.abs().max().item())


def with_zeros(weight: Tensor, kind: str) -> None:
    """Set some of ``weight`` to zero, among them runs of rows of several widths of registers."""
    with torch.no_grad():
        if kind == "everything":
            weight.zero_()
        elif kind == "a column":
            weight[3] = 0.0
        elif kind == "negative zeros":
            weight[:, 1::5] = -0.0
            weight[4] = -0.0
        else:
            weight[::3, ::7] = 0.0
            weight[1, 5:60] = 0.0


ZEROS = ["elements", "a column", "negative zeros", "everything"]


@pytest.mark.parametrize("zeros", ZEROS)
@pytest.mark.parametrize("rule", ["A", "F"])  # those with the gradient of the cells
def test_weights_of_zero_have_the_gradient_of_the_plain_physics(
    profile: Profile, zeros: str, rule: str
) -> None:
    """The slope at zero is the mean of those of both cells of a pair, one of which may be clipped;
    with that of one of them, a pruned weight could stay zero forever."""
    torch.manual_seed(0)
    digital, x = nn.Linear(70, 13), torch.randn(9, 70)
    with_zeros(digital.weight, zeros)
    layer = cimsim.calibrate(cimsim.convert(digital, profile, rule=rule), [x])
    assert isinstance(layer, AnalogLayer)
    layer.adc_range.mul_(4)  # no current that rounding moves out of the range
    for age_s in (0.0, 3600.0):
        cimsim.age(layer, age_s)
        fused, plain = (step(layer, x, which) for which in ("fused", "numbers"))
        for got, expected in zip(fused[1:], plain[1:], strict=True):
            assert torch.allclose(got, expected, rtol=1e-3, atol=2e-3 * expected.abs().max().item())


@pytest.mark.parametrize("name", fused_profiles())
def test_the_gradient_at_zero_is_the_mean_of_both_sides(name: str) -> None:
    exact = {"adc.bits": None, "adc.noise_of_range": 0.0, "dac.bits": None, "cell.read_noise": []}
    profile = cimsim.load_profile(name, {**exact, "array.drift_compensation": "none"})
    torch.manual_seed(0)
    digital, x = nn.Linear(40, 6, bias=False), torch.rand(16, 40)
    zeros = [(output, row) for output in range(6) for row in (0, 17, 38)]
    with torch.no_grad():
        for at in zeros:
            digital.weight[at] = 0.0
    chip = cimsim.calibrate(cimsim.convert(digital, profile), [x]).eval()
    cimsim.age(cimsim.program(chip, 3), 3600.0)
    y = chip(x)
    y.sum().backward()
    size = 1e-3 * chip.weight.abs().amax().item()

    def changed(at: tuple[int, int], by: float) -> float:
        with torch.no_grad():
            chip.weight[at] = by
            difference = (chip(x).double() - y.double()).sum().item()
            chip.weight[at] = 0.0
        return difference

    expected = torch.tensor([(changed(at, size) - changed(at, -size)) / (2 * size) for at in zeros])
    assert chip.weight.grad is not None
    found = torch.stack([chip.weight.grad[at] for at in zeros])
    close = torch.isclose(found, expected, rtol=0.02, atol=0.01 * expected.abs().max().item())
    assert close.sum() >= len(zeros) - 1  # a cell next to its bound is clipped within the change


@pytest.mark.parametrize("kind", LAYERS)
def test_an_evaluation_is_that_of_the_plain_physics(kind: str, profile: Profile) -> None:
    layer, x = built(kind, profile)
    outputs = []
    for which in ("fused", "numbers"):
        cimsim.program(layer.eval(), 3)
        cimsim.age(layer, 3600.0)
        with kernels.use(which), torch.no_grad():
            outputs.append(layer(x))
    mostly_close(*outputs, share=0.02)


def test_the_input_may_be_kept_instead_of_its_codes() -> None:
    """Behind a ReLU the layer keeps the input, elsewhere its codes: the gradients are the same."""
    for kind in ("linear", "conv"):
        layer, x = built(kind, load_profile("pcm-ibm-2020"))
        layer.dac_range.mul_(0.5)
        x = x.abs()
        own = step(layer, x, "fused")
        layer.draws = 0
        behind = x.clone().requires_grad_()
        y = layer(behind.relu())
        delta = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
        shared = torch.autograd.grad(y, (behind, layer.weight), delta)
        for got, expected in zip((y, *shared), own[:3], strict=True):
            assert torch.equal(got, expected)


@pytest.mark.parametrize("rule", ["A", "B", "C", "E", "F"])
@pytest.mark.parametrize("dac", [None, 8, 12])
def test_no_result_lies_in_shared_memory(rule: str, dac: int | None) -> None:
    """Layers of one shape, one after the other: each keeps its own output and gradients."""
    torch.manual_seed(0)
    x = torch.randn(6, 32)
    plain = nn.Sequential(*(nn.Linear(32, 32) for _ in range(3)))
    profile = device(programming=[POLYNOMIAL], read=[ONE_OVER_F], dac=dac, adc=8)
    model = cimsim.calibrate(cimsim.convert(plain, profile, rule=rule), [x])
    found = []
    for which in ("fused", "numbers"):
        for layer in model:
            layer.draws = 0
        model.zero_grad()
        with kernels.use(which):
            y = model(x.requires_grad_())
            y.sum().backward()
        found.append([y.detach(), *(p.grad for p in model.parameters())])
    for got, expected in zip(*found, strict=True):
        assert torch.allclose(got, expected, rtol=1e-2, atol=1e-2 * expected.abs().max().item())


def test_threads_do_not_change_a_bit() -> None:
    layer, _ = built("linear of many blocks", load_profile("pcm-ibm-2020"))
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            normal = torch.empty(100_001)
            kernels.cpu.normal(normal, 3)
            array, w = layer._array, layer.weight.detach()
            results.append([normal, array.chip(w, 1, 60.0).relative, array.chip(w, 1, 60.0).scale])
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_nan_is_not_lost() -> None:
    layer, x = built("linear", load_profile("pcm-ibm-2020"))
    x[2, 3] = torch.nan
    y = layer(x)
    assert y[2].isnan().all()
    assert not y[:2].isnan().any()
    with torch.no_grad():
        layer.weight[4, 5] = torch.nan
    assert layer(x[:2])[:, 4].isnan().all()


def test_any_size_and_shape() -> None:
    """Every remainder of vectors of up to sixteen, blocks of 512 and bytes of eight."""
    profile = cimsim.load_profile("pcm-ibm-2020", {"array.rows": 23})
    for inputs in (1, 2, 15, 16, 17, 31, 47):
        for outputs in (1, 7, 8, 9, 16, 17, 65):
            torch.manual_seed(inputs)
            x = torch.randn(3, inputs)
            layer = cimsim.calibrate(cimsim.convert(nn.Linear(inputs, outputs), profile), [x])
            cimsim.age(layer, 60.0)
            fused, plain = (step(layer, x, which) for which in ("fused", "numbers"))
            mostly_close(fused[0], plain[0], share=0.1)
            for got, expected in zip(fused[2:], plain[2:], strict=True):
                atol = 2e-3 * expected.abs().max().item()
                assert torch.allclose(got, expected, rtol=1e-3, atol=atol)


@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="the options are those of x86-64"
)
@pytest.mark.long
@pytest.mark.parametrize("without", ["-mno-avx", "-mno-avx512f"])
def test_processors_with_narrower_registers(without: str, tmp_path: Path) -> None:
    """The kernels' vectors are as wide as the processor's registers: 4, 8 or 16 numbers."""
    tests = (
        test_any_size_and_shape,
        test_nan_is_not_lost,
        test_a_step_is_the_step_of_the_plain_physics,
    )
    named = [f"{__file__}::{test.__name__}" for test in tests]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *named]
    environment = {
        **os.environ,
        "CXX": f"{shlex.join(find_compiler())} {without}",
        "XDG_CACHE_HOME": str(tmp_path),
    }
    with children.started(command, env=environment, stdout=subprocess.PIPE) as (process,):
        said, _ = children.ended(process)
    assert process.returncode == 0, said
    assert re.search(r"^\d+ passed in", said, re.MULTILINE), said
    assert list(tmp_path.rglob("*.so"))


@pytest.mark.parametrize("kind", ["linear of many blocks", "conv in groups"])
def test_variances_of_many_products_in_bf16_change_few_codes(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The layers of these tests have few products, whose variances are in float32."""
    if kernels.cpu.variance_dtype(1 << 40) == torch.float32:
        pytest.skip("this processor does not multiply in bf16")
    assert kernels.cpu.variance_dtype(1) == torch.float32
    layer, x = built(kind, load_profile("pcm-ibm-2020"))
    full = step(layer, x, "fused")
    monkeypatch.setattr(kernels.cpu, "_MANY_PRODUCTS", 0)
    assert layer.array.chip(layer.weight, 0).read_variance.dtype == torch.bfloat16
    low = step(layer, x, "fused")
    assert (full[0] != low[0]).float().mean() < 0.02
    for a, b in zip(full[1:], low[1:], strict=True):
        assert torch.allclose(a, b, rtol=0.05, atol=0.05 * a.abs().max().item())


BENT = {"cell.iv": {"kind": "sinh", "v_read_V": 1.0, "k_per_V": 2.0, "source": "a test"}}


@pytest.mark.parametrize("name", ["pcm-ibm-2020", "reram-milo-2021"])
@pytest.mark.parametrize("which", ["fused", "numbers"])
def test_nonlinear_cells_do_not_overflow_in_float16(name: str, which: kernels.Use) -> None:
    """512 rows that all conduct: the sum of codes is larger than the largest float16."""
    profile = load_profile(name, {**(BENT if name.startswith("pcm") else {}), "dac.bits": 12})
    profile = profile.scale_noise(0.0)
    layer = nn.Linear(512, 16, bias=False)
    nn.init.uniform_(layer.weight, 0.5, 1.0)
    x = torch.rand(8, 512, generator=torch.Generator().manual_seed(0))
    made = cimsim.calibrate(cimsim.convert(layer, profile), [x]).eval()
    with torch.no_grad(), kernels.use(which):
        exact = made(x)
        with torch.autocast("cpu", dtype=torch.float16):
            low = made(x).float()
    assert (low - exact).abs().max() < 0.02 * exact.abs().max()


@pytest.mark.parametrize("name", ["pcm-ibm-2020", "reram-milo-2021"])
def test_a_trained_layer_of_nonlinear_cells_is_pickled(name: str) -> None:
    profile = load_profile(name, BENT if name.startswith("pcm") else {})
    layer, x = built("linear", profile)
    layer(x).sum().backward()
    again = pickle.loads(pickle.dumps(layer)).eval()
    with torch.no_grad():
        assert torch.equal(cimsim.program(again, 1)(x), cimsim.program(layer.eval(), 1)(x))
