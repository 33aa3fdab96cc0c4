"""GELU and SiLU that keep codes of the ADC are torch's in everything but memory."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import cimsim
from cimsim.errors import CimsimError
from cimsim.kernels import Use, cpu, use
from cimsim.nn.compact import restore_plain
from cimsim.nn.smooth_activations import GELU, SiLU
from cimsim.profile import ADC, Profile, profile_names
from tests.kept import saved_bytes

needs_kernels = pytest.mark.skipif(cpu.build().library is None, reason=cpu.build().note)

KINDS: dict[str, Callable[[], nn.Module]] = {
    "GELU": nn.GELU,
    "GELU by tanh": lambda: nn.GELU("tanh"),
    "SiLU": nn.SiLU,
    "SiLU in place": lambda: nn.SiLU(inplace=True),
}
FRONTS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(20, 65), (520, 20)),
    "without a bias": (lambda: nn.Linear(20, 65, bias=False), (520, 20)),
    "wide": (lambda: nn.Linear(20, 300), (70, 20)),
    "sequences": (lambda: nn.Linear(20, 65), (40, 13, 20)),
    "a few": (lambda: nn.Linear(20, 65), (65, 20)),
    "one vector": (lambda: nn.Linear(20, 65), (20,)),
    "no vectors": (lambda: nn.Linear(20, 65), (0, 20)),
    "several tiles": (lambda: nn.Linear(600, 65), (520, 600)),
    "transposed": (lambda: nn.Sequential(nn.Linear(20, 65), Transposed()), (520, 20)),
    "a view": (lambda: nn.Sequential(nn.Linear(20, 65), nn.Unflatten(1, (5, 13))), (520, 20)),
    "a part": (lambda: nn.Sequential(nn.Linear(20, 65), Part()), (520, 20)),
    "normalized": (lambda: nn.Sequential(nn.Linear(20, 65), nn.LayerNorm(65)), (520, 20)),
    "convolution": (lambda: nn.Conv2d(3, 8, 3), (16, 3, 14, 14)),
}


class Transposed(nn.Module):
    """Another order of the numbers."""

    def forward(self, x: Tensor) -> Tensor:
        """Exchange the axes."""
        return x.transpose(0, 1)


class Part(nn.Module):
    """Some of the numbers."""

    def forward(self, x: Tensor) -> Tensor:
        """Leave out the first columns."""
        return x[:, 5:]


def twins(
    front: nn.Module, activation: nn.Module, x: Tensor, profile: str | Profile
) -> tuple[nn.Module, nn.Module]:
    """A converted net, and one like it with the activation of torch."""
    torch.manual_seed(0)
    model = nn.Sequential(front, activation)
    ours = cimsim.calibrate(cimsim.convert(model, profile), [x]).train()
    theirs = copy.deepcopy(ours)
    restore_plain(theirs)
    return ours, theirs


def result(model: nn.Module, x: Tensor) -> list[Tensor]:
    """Output and gradients."""
    x = x.clone().requires_grad_()
    y = model(x)
    dy = torch.randn(y.shape, generator=torch.Generator().manual_seed(2))
    return [y, *torch.autograd.grad(y, [x, *model.parameters()], dy)]


def same(ours: list[Tensor], theirs: list[Tensor]) -> None:
    """The same numbers, bit for bit."""
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.stride() == other.stride()
        assert torch.equal(
            mine.contiguous().view(torch.int32), other.contiguous().view(torch.int32)
        )


@pytest.mark.parametrize("which", get_args(Use))
@pytest.mark.parametrize("profile", ["generic-gaussian", "pcm-ibm-2020", "ideal"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("front", FRONTS)
def test_bit_for_bit(front: str, kind: str, profile: str, which: Use) -> None:
    make, shape = FRONTS[front]
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    batch = x if x.numel() else torch.randn(4, 20)
    ours, theirs = twins(make(), KINDS[kind](), batch, profile)
    with use(which):
        same(result(ours, x), result(theirs, x))


@pytest.mark.parametrize("range_per", get_args(ADC.model_fields["range_per"].annotation))
@pytest.mark.parametrize("profile", profile_names())
def test_on_every_profile(profile: str, range_per: str) -> None:
    x = torch.randn(600, 20, generator=torch.Generator().manual_seed(1))
    loaded = cimsim.load_profile(profile)
    if loaded.adc.bits is None:
        pytest.skip("there is no ADC")
    try:
        loaded = cimsim.load_profile(profile, {"adc.range_per": range_per})
    except CimsimError as error:
        pytest.skip(str(error))
    ours, theirs = twins(nn.Linear(20, 65), nn.GELU(), x, loaded)
    same(result(ours, x), result(theirs, x))


def kept(model: nn.Module, x: Tensor) -> int:
    """Bytes of what the activation keeps, the last part of ``model``."""
    assert isinstance(model, nn.Sequential)
    return saved_bytes(model[1], model[0](x))


@needs_kernels
@pytest.mark.parametrize("kind", ["GELU", "GELU by tanh", "SiLU"])
def test_one_byte_of_each_value(kind: str) -> None:
    x = torch.randn(520, 20)
    ours, theirs = twins(nn.Linear(20, 65), KINDS[kind](), x, "pcm-ibm-2020")
    assert kept(ours, x) == 520 * 65 + 2 * 4 * 65  # scale and bias
    assert kept(theirs, x) == 4 * 520 * 65


@needs_kernels
@pytest.mark.parametrize("front", ["several tiles", "normalized", "convolution"])
def test_what_is_not_on_the_grid_is_kept_as_it_is(front: str) -> None:
    make, shape = FRONTS[front]
    x = torch.randn(shape)
    ours, theirs = twins(make(), nn.GELU(), x, "pcm-ibm-2020")
    assert kept(ours, x) == kept(theirs, x)


def test_numbers_that_were_changed_unseen_count_as_they_are() -> None:
    x = torch.randn(520, 20)
    found = []
    for model in twins(nn.Linear(20, 65), nn.GELU(), x, "pcm-ibm-2020"):
        h = model[0](x)  # type: ignore[index]
        h.data[7, 8] += 1e-4
        h.data[9, 9] = float("nan")
        y = model[1](h)  # type: ignore[index]
        found.append([y, *torch.autograd.grad(y, h, torch.ones_like(y))])
    same(*found)


def test_weights_may_change_before_backward() -> None:
    x = torch.randn(520, 20)
    found = []
    for model in twins(nn.Linear(20, 65), nn.GELU(), x, "pcm-ibm-2020"):
        h = model[0](x)  # type: ignore[index]
        y = model[1](h)  # type: ignore[index]
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(1.5)
        found.append(list(torch.autograd.grad(y, h, torch.ones_like(y))))
    same(*found)


def test_through_checkpoints() -> None:
    x = torch.randn(520, 20)
    ours, theirs = twins(nn.Linear(20, 65), nn.GELU(), x, "pcm-ibm-2020")

    def checkpointed(model: nn.Module) -> Any:
        again = nn.Module()
        again.inner = model
        again.forward = lambda x: checkpoint(model, x, use_reentrant=False)  # type: ignore[method-assign]
        return again

    found = []
    for model in (ours, theirs):
        torch.manual_seed(3)  # names the chip
        found.append(result(checkpointed(model), x))
    same(*found)


@needs_kernels
def test_a_second_derivative_is_refused_as_that_of_the_layer_in_front() -> None:
    x = torch.randn(520, 20)
    ours, _ = twins(nn.Linear(20, 100), nn.GELU(), x, "pcm-ibm-2020")
    layer, gelu = ours  # type: ignore[misc]
    h = layer(x)
    (dh,) = torch.autograd.grad(gelu(h).sum(), h, create_graph=True)
    with pytest.raises(CimsimError, match="second derivative"):
        dh.sum().backward()


def test_convert_replaces_those_of_torch_and_to_digital_restores_them() -> None:
    layers = [kind() for kind in KINDS.values()]
    given = nn.Sequential(nn.Linear(4, 4), *layers)
    model = cimsim.convert(given, "ideal")
    assert [type(m) for m in model][1:] == [GELU, GELU, SiLU, SiLU]
    assert repr(model[1:]) == repr(given[1:])
    for module in model[1:]:
        assert vars(pickle.loads(pickle.dumps(module))).keys() == vars(module).keys()
    assert [type(m) for m in cimsim.to_digital(model)][1:] == [type(m) for m in layers]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch.jit
@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # of torch's own reading
@pytest.mark.parametrize("kind", ["GELU", "SiLU"])
def test_transformed_and_compiled(kind: str) -> None:
    """Of values on the grid, which the codes would replace otherwise."""
    x = torch.randn(520, 20)
    found: list[list[Tensor]] = []
    for model in twins(nn.Linear(20, 65), KINDS[kind](), x, "pcm-ibm-2020"):
        layer, module = model  # type: ignore[misc]
        h = layer(x)
        leaf = h.detach().requires_grad_()
        found.append(
            [
                torch.jit.script(module)(h),
                torch.jit.trace(module, leaf)(h),
                torch.fx.symbolic_trace(nn.Sequential(module))(h),
                torch.func.vmap(module)(h),
                torch.func.grad(lambda h, module=module: module(h).sum())(h),
                torch.func.jvp(module, (h,), (h,))[1],
                torch.compile(module, fullgraph=True, backend="eager")(h),
                torch.export.export(module, (leaf,)).module()(h),
            ]
        )
    for mine, other in zip(*found, strict=True):
        assert torch.equal(mine, other)
