"""Everything that cimsim uses of torch without torch's promise to keep it, in one place.

A release of torch may rename any of it; then one function here changes. Importing this module
refuses a torch that is too old. ``not_compiled`` is ``torch.compiler.disable``, but loads the
compiler, which takes seconds, where the function is called and not where it is defined.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch._compile import _disable_dynamo as not_compiled
from torch.nn.modules.batchnorm import _BatchNorm as BatchNorm
from torch.nn.modules.conv import _ConvNd as Conv
from torch.nn.modules.conv import _ConvTransposeNd as ConvTranspose

from cimsim.errors import CimsimError

__all__ = [
    "OLDEST",
    "BatchNorm",
    "Conv",
    "ConvTranspose",
    "cpp_compiler",
    "exporting",
    "faking",
    "holds_numbers",
    "in_backward",
    "is_batched",
    "is_view",
    "not_compiled",
    "saved_tensors_are_hooked",
    "transforming",
    "unsafe_view",
]

OLDEST = "2.9"
"""The oldest torch that all of this is in, as ``pyproject.toml`` says."""

if torch.__version__ < OLDEST:
    raise CimsimError(
        f"cimsim needs torch {OLDEST} or newer, and this is torch {torch.__version__}; "
        f"upgrade it: pip install --upgrade 'torch>={OLDEST}'"
    )


def in_backward() -> bool:
    """Whether autograd's engine is running a backward pass in this thread."""
    return torch._C._current_graph_task_id() != -1


def saved_tensors_are_hooked() -> bool:
    """Whether ``saved_tensors_hooks`` are active, as within activation checkpointing."""
    return torch._C._autograd._top_saved_tensors_default_hooks(True) is not None


def transforming() -> bool:
    """Whether a transform of ``torch.func`` runs now."""
    return torch._C._are_functorch_transforms_active()


def faking() -> bool:
    """Whether all tensors are without numbers now, within torch's ``FakeTensorMode``."""
    fake = torch._C._TorchDispatchModeKey.FAKE
    return torch._C._get_dispatch_mode(fake) is not None


def exporting() -> bool:
    """Whether ``torch.export`` runs now. Within ``torch.compile``, torch 2.9 answers this of
    ``torch.compiler.is_exporting()`` with yes."""
    return torch.compiler._is_exporting_flag


def holds_numbers(tensor: Tensor) -> bool:
    """Whether ``tensor`` holds its numbers itself, unlike subclasses that wrap others: parts of a
    sharded tensor, quantized weights, masked tensors."""
    return type(tensor).__torch_dispatch__ is Tensor.__torch_dispatch__


def is_batched(tensor: Tensor) -> bool:
    """Whether ``tensor`` is several, as a gradient within ``is_grads_batched=True``."""
    return torch._C._functorch.is_legacy_batchedtensor(tensor)


def is_view(tensor: Tensor) -> bool:
    """Whether autograd regards ``tensor`` as a view of another."""
    return tensor._is_view()


def unsafe_view(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    """``tensor.view(shape)`` that autograd does not regard as a view; ``tensor`` itself must not be
    used any more."""
    shaped: Tensor = torch.ops.aten._unsafe_view(tensor, shape)
    return shaped


def cpp_compiler() -> str:
    """The C++ compiler that ``torch.compile`` uses.

    Raises:
        RuntimeError: if there is none; torch raises classes of its own that derive from it.
    """
    from torch._inductor.cpp_builder import get_cpp_compiler

    return str(get_cpp_compiler())
