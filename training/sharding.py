"""A model whose parameters are shared out: every process of a training holds a part of each.

Torch's ``fully_shard`` (FSDP2) puts the parameters of one block together where the block computes,
and takes them apart again. Gradients and the optimizer's state are parts as well. Parts are rows:
of a parameter's first axis.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeGuard

import torch
import torch.distributed as dist
from torch import Tensor, nn

from cimsim.errors import CimsimError
from cimsim.nn import AnalogLayer, analog_layers
from cimsim.quantizers import Quantizer

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.tensor import DTensor


def shard(model: nn.Module, device: torch.device) -> DeviceMesh:
    """Leave each process of the group its part of ``model``, block by block; return their mesh.

    A block is an entry of the model's outermost lists and sequences of modules; what lies outside
    of them is one more. Numbers of quantizers, ranges that are learned, and all that has no axis
    stay whole. Nothing is sent: all processes hold the same model before.

    Raises:
        CimsimError: if this torch cannot shard, or not keep parts without pickle.
    """
    try:
        import torch.distributed.checkpoint.hf_storage
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard
    except ImportError as error:
        raise CimsimError(
            f"this torch ({torch.__version__}) cannot share a model out ({error}); install a newer "
            "one, or take --parallel replicate"
        ) from None
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    kept = set(_kept_whole(model))
    shared = _shared(model)
    for block in _blocks(model):
        if not shared.intersection(block.parameters()):  # a part belongs to one block
            fully_shard(block, mesh=mesh, reshard_after_forward=True, ignored_params=kept)
    # Taken apart behind every forward, or else its gradients would be cleared in the wrong place.
    fully_shard(model, mesh=mesh, reshard_after_forward=True, ignored_params=kept)
    for layer in analog_layers(model).values():
        layer.keeps_chip = False  # the whole chip of every layer is what no process has room for
    return mesh


def _kept_whole(model: nn.Module) -> Iterator[nn.Parameter]:
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=isinstance(module, Quantizer)):
            of_layer = isinstance(module, AnalogLayer) and name in ("dac_range", "adc_range")
            if parameter.dim() == 0 or isinstance(module, Quantizer) or of_layer:
                yield parameter


def _shared(model: nn.Module) -> set[nn.Parameter]:
    """Parameters that several modules hold, as tied embeddings do."""
    holders = Counter(p for module in model.modules() for p in module._parameters.values())
    return {p for p, count in holders.items() if p is not None and count > 1}


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        listed = isinstance(module, nn.Sequential | nn.ModuleList)
        if not listed or isinstance(child, nn.ModuleList | nn.ModuleDict):  # which compute nothing
            yield from _blocks(child)
        elif next(child.parameters(), None) is not None:
            yield child


def is_part(tensor: object) -> TypeGuard[DTensor]:
    """Whether this process holds a part of ``tensor`` only."""
    if not (dist.is_available() and dist.is_initialized()):
        return False
    from torch.distributed.tensor import DTensor

    return isinstance(tensor, DTensor)


def whole(tensor: Tensor) -> Tensor:
    """``tensor`` with all its parts; all processes must ask for it."""
    full: Tensor = tensor.full_tensor() if is_part(tensor) else tensor
    return full


def parted(tensor: Any, parameter: Any) -> Any:
    """``tensor``, shared out as ``parameter`` is if it has its shape; otherwise as it is."""
    if not is_part(parameter) or is_part(tensor) or not isinstance(tensor, Tensor):
        return tensor
    if tensor.shape != parameter.shape:
        return tensor
    from torch.distributed.tensor import distribute_tensor

    layout = parameter.device_mesh, parameter.placements
    return distribute_tensor(tensor, *layout, src_data_rank=None)  # all processes hold it


def parted_states(
    states: list[dict[str, Any]], optimizers: list[torch.optim.Optimizer]
) -> list[dict[str, Any]]:
    """The optimizers' states, each number shared out as its parameter is."""
    whole_states = []
    for state, optimizer in zip(states, optimizers, strict=True):
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        of_each = {
            at: {name: parted(value, parameters[at]) for name, value in numbers.items()}
            for at, numbers in state["state"].items()
        }
        whole_states.append({**state, "state": of_each})
    return whole_states


def whole_state(model: nn.Module, keep: bool) -> dict[str, Any]:
    """The model's state with whole tensors on the CPU; all processes must ask for it, and those
    that do not ``keep`` it get nothing."""
    state = {}
    for name, value in model.state_dict().items():
        tensor = whole(value)
        if keep:
            state[name] = tensor.cpu()
    return state
