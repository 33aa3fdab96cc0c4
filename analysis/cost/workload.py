"""The multiplications of a model for one input, from one forward pass, for any profile.

The pass is digital, so it needs no calibration and samples no chips; on the meta device it needs no
numbers either.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from cimsim.analysis.cost.drive import Drive, drive_of, nonnegative
from cimsim.analysis.cost.result import OPS_PER_MAC
from cimsim.array import Tiling
from cimsim.errors import CimsimError
from cimsim.nn import AnalogLayer, analog_layers, digital, evaluating
from cimsim.nn.batches import BatchReader
from cimsim.profile import ArraySpec, Profile


@dataclass(frozen=True, eq=False)
class AnalogWork:
    """One analog layer's share of an inference.

    Attributes:
        name, kind: of the layer; ``kind`` is the torch layer that it replaces.
        profile: its profile.
        weight_shape: as the array holds the weight, a column for each entry of the first axis.
        vectors: input vectors, which are output positions of a convolution.
        inputs, outputs: numbers of inputs and outputs.
        additions: digital additions other than the sums over tiles: the bias, an offset,
            overlapping columns of a transposed convolution.
        corrections: digital factors other than the scale of a column.
        drive: how strongly the rows are driven; None where the input has no numbers.
        nonnegative: whether there were inputs and their sign is not needed, see
            :func:`cimsim.analysis.cost.drive.nonnegative`.
        tiling: the layout of the weight on tiles of such an array.
        weight: makes the weight that is programmed, None on the meta device.
        chip: seed, age in seconds and write cycle of the chip that it is programmed on.
    """

    name: str
    kind: str
    profile: Profile
    weight_shape: tuple[int, ...]
    vectors: float
    inputs: float
    outputs: float
    additions: float
    corrections: float
    drive: Drive | None
    nonnegative: bool
    tiling: Callable[[ArraySpec], Tiling]
    weight: Callable[[], Tensor] | None
    chip: tuple[int, float, int]


@dataclass(frozen=True)
class DigitalWork:
    """One module's digital products: its MACs, and the numbers that it reads and writes."""

    name: str
    kind: str
    macs: float
    moved: float


@dataclass(frozen=True)
class Workload:
    """Everything that multiplies in one inference, in the order in which it begins; the mean over
    ``samples`` inputs."""

    layers: tuple[AnalogWork | DigitalWork, ...]
    samples: int


@dataclass
class _Calls:
    """Sums over the calls of one module."""

    vectors: int = 0
    inputs: int = 0
    outputs: int = 0
    flops: int = 0
    drives: list[tuple[Drive, int]] = field(default_factory=list)
    nonnegative: bool = True


@dataclass
class _Open:
    """A call that has not returned yet: operations counted before it, and within its children."""

    before: int
    within: int = 0


def workload_of(model: nn.Module, x: Any) -> Workload:
    """Find the multiplications of ``model`` for one entry of the batch ``x``.

    Analog layers, torch's matrix products anywhere else (layers left digital, attention), nothing
    that works element by element. Recurrences count every step.

    Args:
        model: a converted model; calibrated or not, on any device.
        x: a batch of its inputs, see :mod:`cimsim.nn.batches`. Real ones determine how strongly
            rows are driven; on the meta device, with a model there, only shapes matter.

    Raises:
        CimsimError: if the model is not converted, or ``x`` has no entry.
    """
    layers = analog_layers(model)
    reader = BatchReader(model, "cost")
    samples = _samples(reader.arguments(x, 0))
    if not samples:
        raise CimsimError("the cost of an inference needs a batch with at least one input")
    seen: dict[str, _Calls] = {}
    with torch.no_grad(), evaluating(model), digital(model), _in_parts():
        with (
            FlopCounterMode(display=False, custom_mapping=_FUSED) as counter,
            _watched(model, counter, seen),
        ):
            reader.run(x, 0)
    modules = dict(model.named_modules())
    work: list[AnalogWork | DigitalWork] = []
    for name, calls in seen.items():
        if name in layers:
            work.append(_analog(name, layers[name], calls, samples))
        elif calls.flops:
            own = sum(p.numel() for p in modules[name].parameters(recurse=False))
            moved = own + (calls.inputs + calls.outputs) / samples
            kind = type(modules[name]).__name__
            work.append(
                DigitalWork(name, kind, _whole(calls.flops / OPS_PER_MAC / samples), _whole(moved))
            )
    return Workload(tuple(work), samples)


def _samples(arguments: tuple[list[Any], dict[str, Any]]) -> int:
    """Number of inputs in a batch: the length of its first tensor."""
    given, named = arguments
    tensors = (value for value in (*given, *named.values()) if isinstance(value, Tensor))
    return next((len(tensor) if tensor.dim() else 0 for tensor in tensors), 0)


@contextmanager
def _in_parts() -> Iterator[None]:
    """Within the block, attention and recurrences are not fused but made of their products."""
    with sdpa_kernel(SDPBackend.MATH), torch.backends.cudnn.flags(enabled=False):
        yield


def _recurrence(x: Any, input_weight: Any, state_weight: Any, *rest: Any, **named: Any) -> int:
    """Operations of the CPU's fused recurrence, from the shapes of its arguments."""
    steps = x[0] * x[1]
    return int(OPS_PER_MAC * steps * (math.prod(input_weight) + math.prod(state_weight)))


_FUSED = {torch.ops.aten.mkldnn_rnn_layer: _recurrence}


@contextmanager
def _watched(model: nn.Module, counter: FlopCounterMode, seen: dict[str, _Calls]) -> Iterator[None]:
    """Within the block, every call of a module of ``model`` is entered in ``seen``."""
    calls: list[_Open] = []
    aside = 0  # operations of our own

    def flops() -> int:
        return int(counter.get_total_flops()) - aside

    def enter(name: str, module: nn.Module, inputs: tuple[object, ...]) -> None:
        seen.setdefault(name, _Calls())
        calls.append(_Open(flops()))

    def leave(
        name: str,
        module: nn.Module,
        inputs: tuple[object, ...],
        named: dict[str, object],
        output: object,
    ) -> None:
        nonlocal aside
        call, entry, now = calls.pop(), seen[name], flops()
        total = now - call.before
        if calls:
            calls[-1].within += total
        entry.flops += total - call.within
        given = (*inputs, *named.values())
        entry.inputs += _numbers(given)
        entry.outputs += _numbers(output)
        if isinstance(module, AnalogLayer):
            vectors = module.vectors(next(value for value in given if isinstance(value, Tensor)))
            tiling, outputs = module.array.tiling, _weight_shape(module)[0]
            shape = tiling.output_shape_of(tuple(vectors.shape), outputs)
            count = math.prod(shape) // outputs
            entry.vectors += count
            if count and not vectors.is_meta and not module.weight.is_meta:
                entry.drives.append((drive_of(module, vectors), count))
                entry.nonnegative &= nonnegative(module, vectors)
            aside += flops() - now

    with ExitStack() as hooks:
        for name, module in model.named_modules():
            before = module.register_forward_pre_hook(partial(enter, name))
            after = module.register_forward_hook(partial(leave, name), with_kwargs=True)
            hooks.callback(before.remove)
            hooks.callback(after.remove)
        yield


def _analog(name: str, layer: AnalogLayer, seen: _Calls, batch: int) -> AnalogWork:
    shape = _weight_shape(layer)
    vectors, outputs = seen.vectors / batch, seen.outputs / batch
    overlapping = vectors * shape[0] - outputs  # of a transposed convolution
    biases = outputs if layer.bias is not None or layer.denoiser is not None else 0.0
    return AnalogWork(
        name=name,
        kind=layer.torch_class.__name__,
        profile=layer.profile,
        weight_shape=shape,
        vectors=_whole(vectors),
        inputs=_whole(seen.inputs / batch),
        outputs=_whole(outputs),
        additions=_whole(biases + max(0.0, overlapping)),
        corrections=_whole(outputs if layer.denoiser is not None else 0.0),
        drive=Drive.mean(seen.drives),
        nonnegative=bool(seen.drives) and seen.nonnegative,
        tiling=partial(type(layer).tiling, layer),
        weight=None if layer.weight.is_meta else layer.scaled_weight,
        chip=(layer.chip_seed, layer.age_s, layer.cycle),
    )


def _weight_shape(layer: AnalogLayer) -> tuple[int, ...]:
    """Shape of the weight as the array holds it."""
    return tuple(layer.to_matrix(layer.weight.detach().to("meta")).shape)


def _whole(number: float) -> float:
    """``number`` as an integer if it is one."""
    return int(number) if float(number).is_integer() else number


def _numbers(values: object) -> int:
    """Count the numbers in tensors, or in tuples of them."""
    if isinstance(values, Tensor):
        return values.numel()
    return sum(map(_numbers, values)) if isinstance(values, tuple | list) else 0
