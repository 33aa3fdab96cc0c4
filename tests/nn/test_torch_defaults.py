"""Results depend on neither torch's default dtype nor its default device.

``torch.set_default_dtype`` is in effect while libraries load a model in bf16, and
``torch.set_default_device("cuda")`` in many notebooks. The tests use ``meta`` as a default device
that differs from the model's; a kernel that reads memory there ends the process.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import cimsim
from cimsim import kernels
from cimsim.adaptation.adapting import PARTS
from cimsim.nn import denoise
from cimsim.profile import load_profile, override_profile, profile_names
from cimsim.quantizers import QUANTIZERS
from tests.nn.examples import MODULES, Model, input_of

DTYPES = [torch.bfloat16, torch.float16, torch.float64]


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def life(digital: nn.Module, x: Tensor, profile: str, **settings: str) -> list[Tensor]:
    """The tensors of a training step, and of a chip when it is new and when it is old."""
    torch.manual_seed(1)
    model = cimsim.convert(digital, profile, denoise=0.01 if settings else None, **settings)
    cimsim.calibrate(model, [x])
    y = model(x)
    y.square().sum().backward()
    tensors = [y, *(p.grad for p in model.parameters() if p.grad is not None)]
    cimsim.program(model.eval(), 3)
    if settings:
        denoise(model, [x])
    for time in ("20 s", "1 day"):
        cimsim.age(model, time)
        tensors.append(model(x))
    tensors += [b for b in model.buffers() if b.is_floating_point()]
    return [tensor.detach() for tensor in tensors]


def assert_same(results: list[Tensor], expected: list[Tensor]) -> None:
    for result, other in zip(results, expected, strict=True):
        assert (result.dtype, result.device) == (other.dtype, other.device)
        torch.testing.assert_close(result, other, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("which", ["fused", "torch"])
@pytest.mark.parametrize("profile", profile_names())
def test_every_profile(profile: str, which: kernels.Use) -> None:
    torch.manual_seed(0)
    digital, x = (
        nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(12, 4)),
        torch.rand(5, 2, 4, 4),
    )
    with kernels.use(which):
        expected = life(digital, x, profile)
        for dtype in DTYPES:
            with default_dtype(dtype):
                assert_same(life(digital, x, profile), expected)
        with torch.device("meta"):
            assert_same(life(digital, x, profile), expected)


@pytest.mark.parametrize("kind", MODULES)
def test_every_kind_of_layer(kind: str) -> None:
    digital, x = Model(MODULES[kind]).float(), input_of(MODULES[kind]).float()
    expected = life(digital, x, "pcm-ibm-2020")
    for dtype in DTYPES:
        with default_dtype(dtype):
            assert_same(life(digital, x, "pcm-ibm-2020"), expected)
    with torch.device("meta"):
        assert_same(life(digital, x, "pcm-ibm-2020"), expected)


@pytest.mark.parametrize("name", [quantizer.name for quantizer in QUANTIZERS])
def test_every_quantizer(name: str) -> None:
    torch.manual_seed(0)
    digital, x = nn.Linear(16, 4), torch.rand(20, 16)
    role = "quantize_inputs" if QUANTIZERS.make(name).for_inputs else "quantize_weights"
    settings = {role: name}
    expected = life(digital, x, "pcm-ibm-2020", **settings)
    for dtype in DTYPES:
        with default_dtype(dtype):
            assert_same(life(digital, x, "pcm-ibm-2020", **settings), expected)
    with torch.device("meta"):
        assert_same(life(digital, x, "pcm-ibm-2020", **settings), expected)


@pytest.mark.parametrize("name", [part.name for part in PARTS])
def test_every_part_of_an_adaptation(name: str) -> None:
    torch.manual_seed(0)
    digital, x = nn.Sequential(nn.Linear(8, 6), nn.BatchNorm1d(6)).eval(), torch.randn(32, 8)
    faulty = {"cell.faults": [{"kind": "stuck", "at": "g_max", "rate": 0.05}]}
    profile = override_profile(load_profile("pcm-ibm-2020"), faulty)
    model = cimsim.calibrate(cimsim.convert(digital, profile), [x])
    cimsim.age(cimsim.program(model.eval(), 3), "1 day")

    def adapted() -> nn.Module:
        changed = copy.deepcopy(model)
        cimsim.adapt(changed, [(x, x[:, 0].long() % 6)], parts=name, budget=2)
        return changed

    expected = adapted()(x)
    for dtype in DTYPES:
        with default_dtype(dtype):
            changed = adapted()
        assert_same([changed(x)], [expected])
    with torch.device("meta"):
        changed = adapted()
    assert_same([changed(x)], [expected])


def test_a_training_with_noise() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 4))
    x = torch.randn(32, 8)

    def trained() -> Tensor:
        model = cimsim.convert(net, "pcm-ibm-2020", learn_ranges="dac")
        settings: Any = {"age": "1s:1y", "noise_spread": 0.3, "average": 0.5}
        with_noise = cimsim.NoiseAware(model, steps=6, calibration=[x], **settings)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(6):
            optimizer.zero_grad()
            model(x).square().sum().backward()
            optimizer.step()
            with_noise.step()
        with_noise.finish([x])
        y: Tensor = model.eval()(x)
        return y

    expected = trained()
    for dtype in DTYPES:
        with default_dtype(dtype):
            assert_same([trained()], [expected])
    with torch.device("meta"):
        assert_same([trained()], [expected])
