"""Autocast: products in the low precision, physics in float32."""

import pytest
import torch
from torch import Tensor, nn

import cimsim
from cimsim import kernels
from cimsim.nn import analog_layers
from tests.building import ONE_OVER_F, POLYNOMIAL, device
from tests.nn.examples import MODULES, Model, input_of

LOW = [torch.bfloat16, torch.float16]


def model(profile: str) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    plain = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 6 * 6, 5)
    )
    x = torch.randn(16, 2, 6, 6)
    return cimsim.calibrate(cimsim.convert(plain, profile), [x]), x


def step(net: nn.Module, x: Tensor, dtype: torch.dtype | None) -> tuple[Tensor, list[Tensor]]:
    for layer in analog_layers(net).values():
        layer.draws = 0
    net.zero_grad()
    with torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
        y = net(x)
    y.float().square().mean().backward()
    return y.detach(), [p.grad for p in net.parameters() if p.grad is not None]


@pytest.mark.parametrize("dtype", LOW)
@pytest.mark.parametrize("which", ["fused", "torch"])
@pytest.mark.parametrize("profile", ["generic-gaussian", "pcm-ibm-2020", "sram-charge-jia-2020"])
def test_close_to_full_precision(profile: str, dtype: torch.dtype, which: kernels.Use) -> None:
    net, x = model(profile)
    with kernels.use(which):
        full, gradients = step(net, x, None)
        low, others = step(net, x, dtype)
    assert low.dtype == dtype
    # One ADC step is 1/127 of the range: codes next to a threshold move.
    assert (low.float() - full).norm() < 0.05 * full.norm()
    for got, expected in zip(others, gradients, strict=True):
        assert got.dtype == torch.float32
        assert (got - expected).norm() < 0.1 * expected.norm()


@pytest.mark.parametrize("dtype", LOW)
def test_the_products_are_in_low_precision(dtype: torch.dtype) -> None:
    from torch.utils._python_dispatch import TorchDispatchMode

    seen: set[torch.dtype] = set()

    class Products(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            if str(func.overloadpacket) in {
                "aten.bmm",
                "aten.convolution",
                "aten.convolution_backward",
            }:
                seen.update(a.dtype for a in args if isinstance(a, Tensor))
            return func(*args, **(kwargs or {}))

    net, x = model("generic-gaussian")
    net(x)
    with Products():
        step(net, x, dtype)
    assert seen == {dtype}


def test_the_chip_is_that_of_full_precision() -> None:
    layer = cimsim.convert(nn.Linear(8, 4), device(programming=[POLYNOMIAL], read=[ONE_OVER_F]))
    layer.eval()
    before = layer.programmed_weight()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        layer(torch.randn(2, 8))
        assert torch.equal(layer.programmed_weight(), before)


def test_compiled() -> None:
    torch._dynamo.reset()
    net, x = model("pcm-ibm-2020")
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    y, gradients = step(net, x, torch.bfloat16)
    for layer in analog_layers(net).values():
        layer.draws = 0
    net.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        z = compiled(x)
    z.float().square().mean().backward()
    assert torch.equal(y, z)
    found = [p.grad for p in net.parameters() if p.grad is not None]
    assert all(torch.equal(a, b) for a, b in zip(found, gradients, strict=True))


@pytest.mark.parametrize("bits", [8, 9, 12, 16])
@pytest.mark.parametrize("which", ["fused", "torch"])
def test_inputs_at_the_highest_code_keep_their_sign(bits: int, which: kernels.Use) -> None:
    """In bf16, code 32767 rounds to 32768, which an int16 cannot hold."""
    profile = cimsim.load_profile("ideal", {"dac.bits": bits, "adc.bits": 12})
    x = torch.tensor([[1.0, 0.25]])
    layer = cimsim.convert(nn.Linear(2, 2, bias=False), profile, rule="C")
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 0.5], [0.5, 1.0]]))
    cimsim.calibrate(layer, [x])
    with kernels.use(which), torch.autocast("cpu", dtype=torch.bfloat16):
        layer(x).float().sum().backward()
    assert torch.allclose(layer.weight.grad, x.expand(2, 2), rtol=0.02)


@pytest.mark.parametrize("low", LOW)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", [kind for kind in MODULES if kind != "LSTM"])
def test_the_dtype_is_that_of_torch(kind: str, dtype: torch.dtype, low: torch.dtype) -> None:
    """Autocast does not apply to float64. Torch has no LSTM in float16 on the CPU."""
    digital, x = Model(MODULES[kind]).to(dtype), input_of(MODULES[kind]).to(dtype)
    analog = cimsim.calibrate(cimsim.convert(digital, "pcm-ibm-2020"), [x])
    with torch.autocast("cpu", dtype=low):
        assert analog(x).dtype == digital(x).dtype


def test_float64_is_computed_in_float64() -> None:
    net, x = nn.Linear(6, 4).double(), torch.randn(5, 6, dtype=torch.float64)
    ideal = cimsim.convert(net, device())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(ideal(x), net(x))
