"""What a training step costs, in counts that a slow machine cannot change."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import cimsim
from benchmarks.roofline import counted as done_by_kernels
from benchmarks.split import KERNELS
from cimsim import kernels
from cimsim.kernels import cpu, memory

pytestmark = pytest.mark.skipif(
    kernels.cpu.build().library is None, reason=kernels.cpu.build().note
)


class Counted(TorchDispatchMode):
    """Counts torch's operations, those that compute (the others are views and empty memory), and
    the largest tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()
        self.largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        out: Any = func(*args, **(kwargs or {}))
        self.calls[str(func.overloadpacket).removeprefix("aten.")] += 1
        for t in out if isinstance(out, tuple | list) else (out,):
            if isinstance(t, Tensor):
                self.largest = max(self.largest, t.numel())
        return out

    @property
    def host_reads(self) -> int:
        return self.calls["_local_scalar_dense"] + self.calls["item"] + self.calls["nonzero"]

    @property
    def computing(self) -> int:
        free = {"empty", "empty_like", "empty_strided", "new_empty", "view", "_unsafe_view"}
        free |= {"transpose", "t", "detach", "as_strided", "slice", "select", "expand", "alias"}
        free |= {"unsqueeze", "squeeze", "permute", "split", "unbind"}
        return sum(n for name, n in self.calls.items() if name not in free)


LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(784, 256), (32, 784)),
    "conv": (lambda: nn.Conv2d(16, 32, 3, padding=1), (4, 16, 16, 16)),
}


def counted(kind: str, profile: str, training: bool = True) -> Counted:
    make, shape = LAYERS[kind]
    torch.manual_seed(0)
    x = torch.randn(shape)
    layer = cimsim.calibrate(cimsim.convert(make(), profile), [x]).train(training)
    cimsim.age(layer, 60.0)

    def step() -> None:
        if training:
            x.requires_grad_()
            y = layer(x)
            y.backward(torch.ones_like(y))
        else:
            with torch.no_grad():
                layer(x)

    step()  # programs, and looks at the ranges for the first time
    layer.zero_grad()
    with Counted() as found:
        step()
    return found


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("profile", ["generic-gaussian", "pcm-ibm-2020"])
@pytest.mark.parametrize("training", [True, False])
def test_the_hot_path_never_waits_for_a_number(kind: str, profile: str, training: bool) -> None:
    assert counted(kind, profile, training).host_reads == 0


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize(
    ("profile", "training", "most"),
    [
        # 3 products, gradients of bias and weight, 2 ranges, and a few on single numbers
        ("generic-gaussian", True, 11),
        # a product more for the read noise, its cells in its dtype, and the drift compensation
        ("pcm-ibm-2020", True, 17),
        ("generic-gaussian", False, 1),
        ("pcm-ibm-2020", False, 3),
    ],
)
def test_few_operations(kind: str, profile: str, training: bool, most: int) -> None:
    found = counted(kind, profile, training)
    assert found.computing <= most, found.calls


def test_a_small_layer_on_a_programmed_chip_is_two_products_between_two_kernels() -> None:
    x = torch.randn(32, 64)
    layer = cimsim.calibrate(cimsim.convert(nn.Linear(64, 64), "pcm-ibm-2020"), [x]).eval()
    with torch.no_grad():
        layer(x)
        with Counted() as found, done_by_kernels(KERNELS) as done:
            layer(x)
    assert found.calls["bmm"] == found.computing == 2  # nothing is converted or copied
    assert {name for name in KERNELS if done[name].seconds} == {"encode", "digitize"}


@pytest.mark.parametrize("profile", ["generic-gaussian", "pcm-ibm-2020"])
def test_products_per_step(profile: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as without:
        without.setattr(cpu, "unit", lambda: None)
        linear, found = counted("linear", profile), counted("conv", profile)
    assert linear.calls["bmm"] == (3 if profile == "generic-gaussian" else 4)
    assert found.calls["convolution"] == (1 if profile == "generic-gaussian" else 2)
    assert found.calls["convolution_backward"] == 2  # one for the input, one for the weights


def test_nothing_larger_than_weights_and_activations() -> None:
    assert counted("linear", "pcm-ibm-2020").largest <= 784 * 256
    assert counted("conv", "pcm-ibm-2020").largest <= 4 * 32 * 16 * 16


def test_no_memory_in_proportion_to_the_weights_stays_behind() -> None:
    """What lies in scratch memory is used again by the next layer."""
    layers = [nn.Linear(64, 64) for _ in range(4)]
    x = torch.randn(8, 64)
    model = cimsim.calibrate(cimsim.convert(nn.Sequential(*layers), "pcm-ibm-2020"), [x])
    model(x).sum().backward()
    before = {key: t.data_ptr() for key, t in memory._scratch.memory.items()}
    model(x).sum().backward()
    assert {k: t.data_ptr() for k, t in memory._scratch.memory.items()} == before
