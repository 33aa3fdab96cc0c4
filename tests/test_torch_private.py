"""What cimsim uses of torch that torch does not promise: all in one module, and as it is meant."""

from __future__ import annotations

import re
import subprocess
import sys
import weakref
from pathlib import Path

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks

from cimsim import torch_private

ROOT = Path(__file__).parents[1]
PRIVATE = re.compile(
    r"\btorch(\.\w+)*\._[a-zA-Z]|^\s*from torch[\w.]* import .*\b_[a-zA-Z]|\._version\b"
)


@pytest.mark.parametrize("folder", ["cimsim", "training", "analysis", "benchmarks"])
def test_no_other_module_uses_private_names_of_torch(folder: str) -> None:
    files = [file for file in (ROOT / folder).rglob("*.py") if file.name != "torch_private.py"]
    assert files
    for file in files:
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
            assert not PRIVATE.search(line), f"{file}:{number}: put it into cimsim/torch_private.py"


def test_the_measurement_would_notice() -> None:
    for line in (
        "id = torch._C._current_graph_task_id()",
        "from torch._inductor import config",
        "from torch.nn.modules.batchnorm import _BatchNorm",
        "y = torch.ops.aten._unsafe_view(x, shape)",
        "n = x._version",
    ):
        assert PRIVATE.search(line), line
    for line in ("torch.nn.functional.linear(_x)", "from torch import nn", "cimsim.torch_private"):
        assert not PRIVATE.search(line), line


def test_in_backward() -> None:
    seen = []
    x = torch.ones(1, requires_grad=True)
    y = x * 2
    y.register_hook(lambda _: seen.append(torch_private.in_backward()))
    assert not torch_private.in_backward()
    y.backward()
    assert seen == [True]


def test_the_parameters_that_ddp_waits_for() -> None:
    found = []

    class Asks(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            found.append(torch_private.ddp_needs_all_gradients())
            return super().forward(x)

    x = torch.ones(1, 2)
    torch.distributed.init_process_group(
        "gloo", store=torch.distributed.HashStore(), rank=0, world_size=1
    )
    try:
        for options in ({}, {"find_unused_parameters": True}, {"static_graph": True}):
            nn.parallel.DistributedDataParallel(Asks(2, 2), **options)(x)
    finally:
        torch.distributed.destroy_process_group()
    Asks(2, 2)(x)
    assert found == [True, False, True, False]


def test_hooks_on_saved_tensors() -> None:
    def unpack(t: torch.Tensor) -> torch.Tensor:
        return t

    assert torch_private.unpacking_hook() is None
    with saved_tensors_hooks(lambda t: t, unpack):
        assert torch_private.unpacking_hook() is unpack
        x = torch.ones(2, requires_grad=True).square()
    assert torch_private.unpacking_hook() is None
    alive = weakref.ref(unpack)
    del unpack
    assert alive() is not None
    del x
    assert alive() is None


def test_transforms() -> None:
    seen = []

    def f(x: torch.Tensor) -> torch.Tensor:
        seen.append(torch_private.transforming())
        return x.square().sum()

    torch.func.grad(f)(torch.ones(2))
    assert seen == [True]
    assert not torch_private.transforming()


def test_batched_gradients() -> None:
    seen = []
    x = torch.ones(2, requires_grad=True)
    y = x.square()
    y.register_hook(lambda dy: seen.append(torch_private.is_batched(dy)))
    torch.autograd.grad(y, x, torch.eye(2), is_grads_batched=True, retain_graph=True)
    y.sum().backward()
    assert seen == [True, False]


def test_views() -> None:
    x = torch.arange(6.0)
    assert torch_private.is_view(x.view(2, 3))
    shaped = torch_private.unsafe_view(x, [2, 3])
    assert not torch_private.is_view(shaped)
    assert torch.equal(shaped, x.view(2, 3))


@pytest.mark.parametrize(
    ("base", "kinds"),
    [
        (
            torch_private.BatchNorm,
            (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm),
        ),
        (torch_private.Conv, (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d)),
        (torch_private.ConvTranspose, (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)),
    ],
)
def test_base_classes(base: type[nn.Module], kinds: tuple[type[nn.Module], ...]) -> None:
    assert all(issubclass(kind, base) for kind in kinds)


@pytest.mark.parametrize(
    ("module", "names"),
    [
        (nn.Conv2d(1, 1, 1), ["_conv_forward", "_reversed_padding_repeated_twice"]),
        (nn.ConvTranspose2d(1, 1, 1), ["_output_padding"]),
        (nn.LSTM(1, 1), ["_flat_weights", "_flat_weights_names"]),
        (nn.MultiheadAttention(2, 1), ["_qkv_same_embed_dim"]),
        (nn.Module(), ["_parameters", "_buffers", "_modules", "_load_from_state_dict"]),
    ],
)
def test_what_derived_layers_take_from_torchs(module: nn.Module, names: list[str]) -> None:
    assert [name for name in names if not hasattr(module, name)] == []


def test_a_torch_that_is_too_old_is_refused_in_one_sentence() -> None:
    code = """
import torch
torch.__version__ = torch.torch_version.TorchVersion("2.8.0+cpu")
import cimsim
try:
    cimsim.convert
except cimsim.CimsimError as error:
    print(error)
"""
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout == (
        f"cimsim needs torch {torch_private.OLDEST} or newer, not 2.8.0+cpu; "
        f"upgrade it with pip install --upgrade 'torch>={torch_private.OLDEST}'\n"
    )


def test_the_oldest_is_that_of_the_package() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    assert f'"torch>={torch_private.OLDEST}"' in text


def test_fake_tensors_and_wrappers_are_told_from_numbers() -> None:
    assert not torch_private.faking()
    with FakeTensorMode() as mode:
        assert torch_private.faking()
        assert not torch_private.holds_numbers(mode.from_tensor(torch.ones(2)))
    assert not torch_private.faking()
    for tensor in (torch.ones(2), nn.Parameter(torch.ones(2)), nn.Buffer(torch.ones(2))):
        assert torch_private.holds_numbers(tensor)
    assert torch_private.holds_numbers(torch.ones(2).as_subclass(Plain))


class Plain(torch.Tensor):
    """A subclass with its own memory."""


def test_not_compiled() -> None:
    """Within a compiled function, it is called as it is."""
    seen = []

    @torch_private.not_compiled
    def look(x: torch.Tensor) -> torch.Tensor:
        seen.append(torch.compiler.is_compiling())
        return x + 1

    compiled = torch.compile(lambda x: look(x * 2) * 3, backend="eager")
    assert torch.equal(compiled(torch.ones(2)), torch.full((2,), 9.0))
    assert seen == [False]
