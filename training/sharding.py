"""Sharded models: every process holds a shard of each parameter.

Torch's ``fully_shard`` (FSDP2) gathers the parameters of a block while the block computes and
shards them again afterwards. Gradients and the optimizer's state are sharded as well. Shards are
slices along a parameter's first axis.
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
    """Shard ``model`` over the processes of the group, block by block, and return their mesh.

    A block is an entry of the model's outermost lists and sequences of modules; all modules outside
    of them form another block. Parameters of quantizers, learned ranges and scalars stay whole. No
    data is sent, because all processes start with the same model.

    Raises:
        CimsimError: if this torch version cannot shard, or cannot save shards without pickle.
    """
    try:
        import torch.distributed.checkpoint.hf_storage
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard
    except ImportError as error:
        raise CimsimError(
            f"torch {torch.__version__} cannot shard a model ({error}); install a newer version, "
            "or use --parallel replicate"
        ) from None
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    kept = set(_kept_whole(model))
    shared = _shared(model)
    for block in _blocks(model):
        if not shared.intersection(block.parameters()):  # a parameter belongs to one block
            fully_shard(block, mesh=mesh, reshard_after_forward=True, ignored_params=kept)
    # Resharded after every forward pass; otherwise its gradients would be cleared too early.
    fully_shard(model, mesh=mesh, reshard_after_forward=True, ignored_params=kept)
    for layer in analog_layers(model).values():
        layer.keeps_chip = False  # no process has the memory for the chips of all layers
    return mesh


def _kept_whole(model: nn.Module) -> Iterator[nn.Parameter]:
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=isinstance(module, Quantizer)):
            of_layer = isinstance(module, AnalogLayer) and name in ("dac_range", "adc_range")
            if parameter.dim() == 0 or isinstance(module, Quantizer) or of_layer:
                yield parameter


def _shared(model: nn.Module) -> set[nn.Parameter]:
    """Return parameters used by several modules, such as tied embeddings."""
    holders = Counter(p for module in model.modules() for p in module._parameters.values())
    return {p for p, count in holders.items() if p is not None and count > 1}


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        listed = isinstance(module, nn.Sequential | nn.ModuleList)
        if not listed or isinstance(child, nn.ModuleList | nn.ModuleDict):  # no forward pass
            yield from _blocks(child)
        elif next(child.parameters(), None) is not None:
            yield child


def is_part(tensor: object) -> TypeGuard[DTensor]:
    """Return whether this process has only a shard of ``tensor``."""
    if not (dist.is_available() and dist.is_initialized()):
        return False
    from torch.distributed.tensor import DTensor

    return isinstance(tensor, DTensor)


def whole(tensor: Tensor) -> Tensor:
    """Return the whole ``tensor``; all processes must call this."""
    full: Tensor = tensor.full_tensor() if is_part(tensor) else tensor
    return full


def parted(tensor: Any, parameter: Any) -> Any:
    """Shard ``tensor`` like ``parameter`` if their shapes are equal; return it as is otherwise."""
    if not is_part(parameter) or is_part(tensor) or not isinstance(tensor, Tensor):
        return tensor
    if tensor.shape != parameter.shape:
        return tensor
    from torch.distributed.tensor import distribute_tensor

    layout = parameter.device_mesh, parameter.placements
    return distribute_tensor(tensor, *layout, src_data_rank=None)  # all processes have it


def parted_states(
    states: list[dict[str, Any]], optimizers: list[torch.optim.Optimizer]
) -> list[dict[str, Any]]:
    """Return the optimizers' states with each tensor sharded like its parameter."""
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
    """Return the model's state with whole tensors on the CPU; all processes must call this.

    Processes without ``keep`` get an empty dictionary.
    """
    state = {}
    for name, value in model.state_dict().items():
        tensor = whole(value)
        if keep:
            state[name] = tensor.cpu()
    return state
