"""What a layer keeps for backward."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

import cimsim
from tests.kept import saved_bytes


def analog(module: nn.Module, x: Tensor, rule: str) -> nn.Module:
    return cimsim.calibrate(cimsim.convert(module, "pcm-ibm-2020", rule=rule), [x])


class Chain(nn.Module):
    """Functions one after the other."""

    def __init__(self, *functions: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.functions = functions

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        """Of all functions that have some."""
        for function in self.functions:
            if isinstance(function, nn.Module):
                yield from function.parameters()

    def forward(self, x: Tensor) -> Tensor:
        """The last result."""
        for function in self.functions:
            x = function(x)
        return x


CASES = {
    "linear": (nn.Linear(784, 256), (128, 784)),
    "wide linear": (nn.Linear(128, 512), (64, 128)),
    "conv": (nn.Conv2d(16, 32, 3, padding=1), (8, 16, 16, 16)),
    "tiled conv": (nn.Conv2d(64, 64, 4), (4, 64, 13, 13)),
    "depthwise conv": (nn.Conv2d(16, 16, 3, padding=1, groups=16), (8, 16, 16, 16)),
}


@pytest.mark.parametrize("rule", ["A", "B", "C", "E", "F"])
@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_fewer_bytes_than_the_torch_layer(
    case: tuple[nn.Module, tuple[int, ...]], rule: str
) -> None:
    module, shape = case
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0), requires_grad=True)
    plain, ours = saved_bytes(module, x), saved_bytes(analog(module, x.detach(), rule), x)
    assert plain >= 4 * x.numel()
    assert ours < plain
    if rule in "ABC":
        layer = analog(module, x.detach(), rule)
        columns = layer._array.chip(layer.weight, 0).scale.numel()
        assert ours == x.numel() + 4 * columns  # int8 codes, what a column counts for


def test_the_unfolded_input_is_never_made() -> None:
    """No tensor of a convolution's forward and backward comes near the size of im2col."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Largest(TorchDispatchMode):
        numel = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            out = func(*args, **(kwargs or {}))
            for t in out if isinstance(out, tuple | list) else (out,):
                if isinstance(t, Tensor):
                    self.numel = max(self.numel, t.numel())
            return out

    x = torch.randn(4, 64, 16, 16, requires_grad=True)
    module = analog(nn.Conv2d(64, 64, 3, padding=1), x.detach(), "F")
    im2col = 4 * 64 * 9 * 16 * 16
    with Largest() as largest:
        module(x).sum().backward()
    tiles = 2
    assert largest.numel <= 4 * tiles * 64 * 16 * 16 < im2col / 4


@pytest.mark.parametrize(
    ("function", "keeps_result"),
    [
        (torch.relu, True),
        (torch.sigmoid, True),
        (torch.tanh, True),
        (torch.exp, True),
        (torch.rsqrt, True),
        (lambda x: torch.softmax(x, 1).view(128, 784), True),
        (lambda x: nn.functional.elu(x * 1, inplace=True), True),
        (nn.functional.elu, False),
        (nn.functional.gelu, False),
        (nn.functional.layer_norm, False),
    ],
)
def test_an_input_that_autograd_keeps_is_kept_once(
    function: Callable[..., Tensor], keeps_result: bool
) -> None:
    """Together they keep the result, or what the function keeps and a byte for each code."""
    of = function if function is not nn.functional.layer_norm else nn.LayerNorm(784)
    x = torch.rand(128, 784, requires_grad=True) + 0.1
    layer = analog(nn.Linear(784, 256), x.detach(), "B")
    both = saved_bytes(Chain(of, layer), x)
    alone = saved_bytes(Chain(of), x)
    codes = 0 if keeps_result else x.numel()
    assert codes <= both - alone < codes + x.numel() / 2
