"""What a layer keeps for backward, counted by saved-tensor hooks; parameters left out."""

import pytest
import torch
from torch import Tensor, nn

import cimsim


def saved_bytes(module: nn.Module, x: Tensor) -> int:
    own = {p.untyped_storage().data_ptr() for p in module.parameters()}
    storages: dict[int, int] = {}

    def pack(t: Tensor) -> Tensor:
        storages[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        y = module(x)
    kept = sum(size for address, size in storages.items() if address not in own)
    assert y.grad_fn is not None
    return kept


def analog(module: nn.Module, x: Tensor, rule: str) -> nn.Module:
    return cimsim.calibrate(cimsim.convert(module, "pcm-ibm-2020", rule=rule), [x])


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
