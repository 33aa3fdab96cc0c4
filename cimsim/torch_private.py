"""Wrappers of all private functions of torch that cimsim uses.

A new release of torch may rename them; then only this module changes. Importing this module raises
an error if torch is too old.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, MutableMapping, Sequence
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor, nn
from torch._compile import _disable_dynamo
from torch.nn.modules.batchnorm import _BatchNorm as BatchNorm
from torch.nn.modules.conv import _ConvNd as Conv
from torch.nn.modules.conv import _ConvTransposeNd as ConvTranspose
from torch.utils._python_dispatch import TorchDispatchMode as DispatchMode

from cimsim.errors import CimsimError

__all__ = [
    "OLDEST",
    "BatchNorm",
    "Conv",
    "ConvTranspose",
    "DispatchMode",
    "compiler_is_loaded",
    "cpp_compiler",
    "ddp_needs_all_gradients",
    "exporting",
    "faking",
    "holds_numbers",
    "in_backward",
    "is_batched",
    "is_parametrized",
    "is_view",
    "load_hooks",
    "not_compiled",
    "times_written",
    "transforming",
    "unpacking_hook",
    "unsafe_view",
]

OLDEST = "2.9"
"""The oldest version of torch with all of these, as required in ``pyproject.toml``."""

if torch.__version__ < OLDEST:
    raise CimsimError(
        f"cimsim needs torch {OLDEST} or newer, not {torch.__version__}; "
        f"upgrade it with pip install --upgrade 'torch>={OLDEST}'"
    )


P = ParamSpec("P")
T = TypeVar("T")


def not_compiled(function: Callable[P, T]) -> Callable[P, T]:
    """Keep ``function`` out of compiled code, as ``torch.compiler.disable`` does.

    The compiler, whose import takes seconds, is loaded only if the caller is compiled.
    """
    disabled: Callable[P, T] = _disable_dynamo(function)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        return (disabled if torch.compiler.is_compiling() else function)(*args, **kwargs)

    return call


def compiler_is_loaded() -> bool:
    """Return whether this process has imported the compiler, so that a model may be compiled."""
    return "torch._dynamo" in sys.modules


def in_backward() -> bool:
    """Return whether autograd is running a backward pass in this thread."""
    return torch._C._current_graph_task_id() != -1


def unpacking_hook() -> Callable[[Any], Any] | None:
    """Return the second of the active ``saved_tensors_hooks``, as in activation checkpointing; None
    without any. Autograd references it as long as a tensor is saved that was packed with them."""
    hooks = torch._C._autograd._top_saved_tensors_default_hooks(True)
    return None if hooks is None else hooks[1]


def transforming() -> bool:
    """Return whether a transform of ``torch.func`` is active."""
    return torch._C._are_functorch_transforms_active()


def ddp_needs_all_gradients() -> bool:
    """Return whether this is a forward pass of a ``DistributedDataParallel`` that waits for a
    gradient of every parameter in the backward pass."""
    ddp = nn.parallel.DistributedDataParallel._active_ddp_module
    return ddp is not None and (ddp.static_graph or not ddp.find_unused_parameters)


def faking() -> bool:
    """Return whether torch's ``FakeTensorMode`` is active, in which tensors have no data."""
    fake = torch._C._TorchDispatchModeKey.FAKE
    return torch._C._get_dispatch_mode(fake) is not None


def exporting() -> bool:
    """Return whether ``torch.export`` is active.

    In torch 2.9, ``torch.compiler.is_exporting()`` is also True within ``torch.compile``.
    """
    return torch.compiler._is_exporting_flag


def holds_numbers(tensor: Tensor) -> bool:
    """Return whether ``tensor`` stores its data directly.

    Subclasses that wrap other tensors do not: sharded, quantized or masked tensors.
    """
    return type(tensor).__torch_dispatch__ is Tensor.__torch_dispatch__


def is_batched(tensor: Tensor) -> bool:
    """Return whether ``tensor`` is a batch, such as a gradient with ``is_grads_batched=True``."""
    return torch._C._functorch.is_legacy_batchedtensor(tensor)


def has_memory(tensor: Tensor) -> bool:
    """Return whether the numbers of ``tensor`` are in memory. Those of a gradient of zeros may not
    be, and those of a tensor whose storage was freed."""
    try:
        return bool(tensor.data_ptr()) or not tensor.numel()
    except RuntimeError:  # of a tensor without a storage
        return False


def is_parametrized(module: nn.Module) -> bool:
    """Return ``torch.nn.utils.parametrize.is_parametrized(module)``, which takes microseconds to
    find nothing."""
    return bool(module._modules.get("parametrizations"))


def is_view(tensor: Tensor) -> bool:
    """Return whether autograd treats ``tensor`` as a view of another."""
    return tensor._is_view()


def load_hooks(module: nn.Module) -> MutableMapping[int, Callable[..., object]]:
    """Return what ``module`` calls after it has loaded a state, by the numbers of the handles."""
    return module._load_state_dict_post_hooks


def times_written(tensor: Tensor) -> int | None:
    """Return how often ``tensor`` was changed in place; None for one of inference mode."""
    return None if tensor.is_inference() else tensor._version


def unsafe_view(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    """Return ``tensor.view(shape)``, which autograd does not treat as a view.

    ``tensor`` must not be used afterwards.
    """
    shaped: Tensor = torch.ops.aten._unsafe_view(tensor, shape)
    return shaped


def cpp_compiler() -> str:
    """Return the C++ compiler that ``torch.compile`` uses.

    Raises:
        RuntimeError: if there is no compiler; torch raises subclasses of it.
    """
    from torch._inductor.cpp_builder import get_cpp_compiler

    return str(get_cpp_compiler())
