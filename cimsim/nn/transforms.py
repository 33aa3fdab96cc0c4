"""Transforms of whole programs that an analog layer does not support.

An analog layer counts its draws of chips and reads, and computes in kernels. ``torch.compile``,
``torch.func.functional_call`` and ``torch.fx.symbolic_trace`` treat it as one operation; all other
transforms raise an error, as their results would be wrong.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.fx import Proxy
from torch.fx.experimental.proxy_tensor import get_proxy_mode

from cimsim import kernels
from cimsim.errors import CimsimError
from cimsim.torch_private import exporting, faking, is_batched, transforming

_EXPORT = "export the digital model, cimsim.to_digital(model), instead"
_FUNC = (
    "use loss.backward() or torch.autograd.grad (sample by sample for gradients per sample), or "
    "run it within `with cimsim.nn.digital(model):`"
)


def node_of_graph(module: nn.Module, *given: Any) -> Any:
    """The call of ``module`` as one node of the graph that ``torch.fx`` traces; None otherwise.

    Raises:
        CimsimError: if ``module`` itself is the traced model.
    """
    for proxy in given:
        if isinstance(proxy, Proxy):
            break
    else:
        return None
    tracer: Any = proxy.tracer
    path = tracer.path_of_module(module)
    if not path:
        raise CimsimError(
            f"torch.fx cannot trace into a {type(module).__name__}; trace a model that contains it"
        )
    return tracer.create_proxy("call_module", path, given, {})


def refuse_transforms(name: str, x: Tensor) -> None:
    """Check that no unsupported transform runs the analog layer ``name`` on the input ``x``.

    Raises:
        CimsimError: within ``torch.jit.trace``, ``torch.onnx.export``, ``torch.export``,
            ``make_fx``, ``FakeTensorMode``, the transforms of ``torch.func``, and forward-mode
            differentiation.
    """
    if is_traced():
        raise _refusal(name, "torch.jit.trace or torch.onnx.export", _EXPORT)
    if exporting():
        raise _refusal(name, "torch.export or torch.onnx.export", _EXPORT)
    if torch.compiler.is_compiling():
        return
    if transforming():
        raise _refusal(name, "a transform of torch.func (grad, vmap, jacrev, …)", _FUNC)
    if get_proxy_mode() is not None:
        raise _refusal(name, "make_fx", "use torch.fx.symbolic_trace or torch.compile instead")
    if faking():
        raise _refusal(
            name,
            "FakeTensorMode",
            "find shapes with the model on the meta device, model.to('meta')",
        )
    if forward_ad.unpack_dual(x).tangent is not None:
        raise _refusal(name, "forward-mode differentiation", _FUNC)


def is_traced() -> bool:
    """Whether ``torch.jit.trace`` or an ONNX export by it is running."""
    traced: bool = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    return traced


def kernels_read(x: Tensor) -> bool:
    """Whether the kernels read ``x``, and no trace or transform records the operations.

    Other modes of torch, such as counters of operations, do not change the answer: what is saved
    for backward must be the same when a checkpoint computes it again outside of the mode.
    """
    if torch.compiler.is_compiling() or is_traced() or transforming():
        return False
    if get_proxy_mode() is not None or faking():
        return False
    if not kernels.run_on_cpu(x) or x.dtype is not torch.float32:
        return False
    if x.layout is not torch.strided or x.is_nested or is_batched(x):
        return False
    return forward_ad.unpack_dual(x).tangent is None


def refuse_script(module: nn.Module) -> None:
    """Reject ``torch.jit.script``.

    Raises:
        CimsimError: always.
    """
    raise _refusal(getattr(module, "name", type(module).__name__), "torch.jit.script", _EXPORT)


def _refusal(name: str, what: str, instead: str) -> CimsimError:
    layer = f"the analog layer '{name}'" if name else "an analog layer"
    return CimsimError(f"{layer} cannot be part of {what}; {instead}")
