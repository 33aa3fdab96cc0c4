"""An analog layer as one operation of ``torch.compile``'s graphs.

A layer draws random numbers at each call, caches chips, and runs compiled kernels: a compiler would
find little to improve, and would trace it again at each step. So a compiled graph contains the
layer as one opaque operation, which computes the same as without ``torch.compile``, with the same
draws; everything around it is compiled.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any, Protocol, cast
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn

from cimsim.array import SAVE_NOTHING, Array, ConverterRanges
from cimsim.errors import CimsimError
from cimsim.estimators import BackwardRule, MvmCall
from cimsim.estimators.function import GradientsNeeded, SavedForBackward, backward, forward
from cimsim.estimators.once import refuse_second
from cimsim.kernels.types import bytes_for_bits
from cimsim.lasting import lasting
from cimsim.nn.computed import written_by_hook
from cimsim.nn.held_conditions import ChipName, Conditions, HeldConditions
from cimsim.profile import LearnedRange
from cimsim.torch_private import is_view


class Operand(Protocol):
    """The part of an analog layer that the operation uses."""

    dac_range: Tensor
    adc_range: Tensor
    calls: Tensor
    handle: Tensor
    held_conditions: HeldConditions
    rule: BackwardRule

    @property
    def array(self) -> Array:
        """Cells and converters."""

    def next_call(
        self, dtype: torch.dtype, precision: torch.dtype | None, operand: Tensor | None
    ) -> MvmCall:
        """The next multiplication to simulate."""


_layers: WeakValueDictionary[int, Operand] = WeakValueDictionary()
_handles = count()


def register(layer: Operand) -> Tensor:
    """A number that identifies ``layer`` in graphs: as a tensor, on whose value no graph depends,
    so that one graph serves all models of the same shapes."""
    number = next(_handles)
    _layers[number] = layer
    with lasting():
        return torch.tensor(number, dtype=torch.int64, device="cpu")


def _layer(handle: Tensor) -> Operand:
    """The layer of that number.

    Raises:
        CimsimError: if it does not exist any more; graphs refer to layers without keeping them.
    """
    layer = _layers.get(int(handle))
    if layer is None:
        raise CimsimError(
            "an analog layer of this compiled graph was deleted; keep the model until backward has "
            "run"
        )
    return layer


def analog(
    layer: Operand,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    precision: torch.dtype | None,
) -> Tensor:
    """:func:`cimsim.estimators.analog_matmul` for ``layer``, as one operation."""
    array = layer.array
    dac, adc = array.profile.dac.range, array.profile.adc.range
    learned = (isinstance(dac, LearnedRange), isinstance(adc, LearnedRange))
    graded = torch.is_grad_enabled()
    needed = GradientsNeeded(
        graded and x.requires_grad,
        graded and weight.requires_grad,
        graded and bias is not None and bias.requires_grad,
        graded and learned[0] and layer.dac_range.requires_grad,
        graded and learned[1] and layer.adc_range.requires_grad,
    )
    y_shape = array.tiling.output_shape_of(x.shape, weight.shape[0])
    sizes = _sizes(array, x, y_shape, layer.rule, needed) if any(needed) else [0] * 6
    layer.calls.add_(1)  # so that a graph never merges two calls
    results: list[Tensor] = _forward(
        *(x, weight, bias, layer.dac_range, layer.adc_range, layer.calls, layer.handle),
        *(list(needed), precision, list(y_shape), sizes, _storage(array, x, needed)),
    )
    return results[0]


def _sizes(
    array: Array, x: Tensor, y_shape: tuple[int, ...], rule: BackwardRule, needed: GradientsNeeded
) -> list[int]:
    """Numbers of elements of the parts of :class:`SavedForBackward` except the weight."""
    counts, tiling = array.counts, array.tiling
    # Not from the circuit: torch.compile cannot trace its properties.
    lines = tiling.lines(tiling.currents_shape(y_shape))
    line = lines.line * counts.slices if lines.of_columns else lines.line
    others = lines.lines if lines.of_columns else lines.lines * counts.slices
    number_of_lines = lines.outer * lines.tiles * others * counts.planes
    scale = tiling.tiles * (y_shape[1] // tiling.groups) * counts.slices
    dac_bits = adc_bits = adc_slope = wired_uS = 0
    if counts.dac_bits is not None and rule.needs_slopes and needed.x and not needed.dac:
        dac_bits = bytes_for_bits(math.prod(x.shape))
    if counts.adc and rule.needs_slopes:
        adc_bits = number_of_lines * bytes_for_bits(line)
    if counts.adc and needed.adc:
        adc_slope = number_of_lines * line
    if counts.wired and rule.needs_programmed:
        wired_uS = counts.devices * scale * tiling.rows
    return [math.prod(x.shape), scale, dac_bits, adc_bits, adc_slope, wired_uS]


def _storage(array: Array, x: Tensor, needed: GradientsNeeded) -> torch.dtype:
    """Dtype that a graph has the codes of ``x`` in, or ``x`` itself: codes of one byte as bytes,
    and all others in a type that does not depend on the sign."""
    bits = array.counts.dac_bits
    if bits is None or needed.dac:
        return x.dtype
    if bits <= 8:
        return torch.uint8
    return torch.int16 if bits < 16 else torch.int32


# torch caches compiled graphs, also on disk, by the names and arguments of their operations. So an
# operation whose arguments or results change needs a new name, and the sizes of the results depend
# on arguments only. All results are contiguous, whatever the strides of the input are.
@torch.library.custom_op("cimsim::analog_product", mutates_args=())
def _forward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    dac_range: Tensor,
    adc_range: Tensor,
    calls: Tensor,
    handle: Tensor,
    needs: list[bool],
    precision: torch.dtype | None,
    y_shape: list[int],
    sizes: list[int],
    storage: torch.dtype,
) -> list[Tensor]:
    """The output; then vectors of ``sizes`` for backward: the parts of :class:`SavedForBackward`
    except the weight, the input in the dtype ``storage``; then both ranges; the chip's seed, its
    write cycle and the number of :class:`Conditions`; its age in s."""
    layer = _layer(handle)
    # Within a compiled graph, hooks write the weight to the layer after the graph has run.
    by_hook = written_by_hook(cast(nn.Module, layer))
    call = layer.next_call(weight.dtype, precision, weight if by_hook else None)
    if not any(needs):
        y = call.read(x, call.chip_for(weight), bias, SAVE_NOTHING).y
        return [y.contiguous(), *(x.new_empty(0) for _ in range(10))]
    needed = GradientsNeeded(*needs)
    y, saved = forward(x, weight, bias, call, needed, share_input=needed.dac)
    number = layer.held_conditions.number_of(Conditions(call.array, call.rule, call.attempts))
    if call.chip is not None and call.rule.needs_programmed and not needed.weight:
        name = ChipName(call.chip_seed, call.cycle, number, call.age_s)
        layer.held_conditions.hold_chip(name, call.chip)
    # An operation must not return its inputs, or tensors that a cached chip owns.
    kept = saved._replace(
        scale=saved.scale.clone(),
        wired_uS=None if saved.wired_uS is None else saved.wired_uS.clone(),
    )
    others = [x.new_empty(0) if t is None else t.reshape(-1) for t in kept[2:]]
    return [
        *(y.contiguous(), _stored(saved.input, storage, saved.input is x), *others),
        *(call.ranges.dac.clone(), call.ranges.adc.clone()),
        torch.tensor([call.chip_seed, call.cycle, number], dtype=torch.int64, device="cpu"),
        torch.tensor(call.age_s, dtype=torch.float64, device="cpu"),
    ]


def _stored(codes: Tensor, storage: torch.dtype, copy: bool) -> Tensor:
    """``codes`` as a vector in the dtype ``storage``, see :func:`_storage`."""
    flat = codes.clone(memory_format=torch.contiguous_format) if copy else codes.contiguous()
    flat = flat.view(-1)
    return flat.view(storage) if storage is torch.uint8 else flat.to(storage)


@_forward.register_fake
def _(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    dac_range: Tensor,
    adc_range: Tensor,
    calls: Tensor,
    handle: Tensor,
    needs: list[bool],
    precision: torch.dtype | None,
    y_shape: list[int],
    sizes: list[int],
    storage: torch.dtype,
) -> list[Tensor]:
    y = x.new_empty(y_shape)
    if not any(needs):
        return [y, *(x.new_empty(0) for _ in range(10))]
    dtypes = (storage, x.dtype, torch.uint8, torch.uint8, x.dtype, x.dtype)
    saved = [
        x.new_empty(size, dtype=dtype if size or at < 2 else x.dtype)
        for at, (size, dtype) in enumerate(zip(sizes, dtypes, strict=True))
    ]
    return [
        *(y, *saved, x.new_empty(dac_range.shape), x.new_empty(adc_range.shape)),
        torch.empty(3, dtype=torch.int64, device="cpu"),
        torch.empty((), dtype=torch.float64, device="cpu"),
    ]


def _remember(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    x, weight, _, _, _, _, handle, ctx.forward_needs, ctx.precision, *_ = inputs
    ctx.x_shape = x.shape
    ctx.save_for_backward(weight, handle, *output[1:])


def _gradients(ctx: Any, grads: list[Tensor]) -> tuple[Tensor | None, ...]:
    weight, handle, *saved = ctx.saved_tensors
    needs, shape = list(ctx.forward_needs), list(ctx.x_shape)
    dy = grads[0].contiguous()
    gradients = _backward(dy, weight, saved, handle, needs, shape, ctx.precision)
    needed = [g if need else None for g, need in zip(gradients, needs, strict=True)]
    return *needed, *[None] * 7


@torch.library.custom_op("cimsim::analog_product_backward", mutates_args=())
def _backward(
    dy: Tensor,
    weight: Tensor,
    saved: list[Tensor],
    handle: Tensor,
    needs: list[bool],
    shape: list[int],
    precision: torch.dtype | None,
) -> list[Tensor]:
    """The gradients of :class:`GradientsNeeded`, empty if not needed."""
    # Without torch's AOT compiler, they require gradients, which nothing below computes for them.
    dy, weight, saved = dy.detach(), weight.detach(), [t.detach() for t in saved]
    *parts, dac_range, adc_range, numbers, age_s = saved
    chip_seed, cycle, number = numbers.tolist()
    held = _layer(handle).held_conditions
    array, rule, attempts = held.get(number)
    # None if the chip is not the last one, or is already released: then it is programmed again.
    chip = held.take_chip(ChipName(chip_seed, cycle, number, float(age_s)))
    ranges = ConverterRanges(dac_range, adc_range)
    call = MvmCall(
        *(array, rule, ranges, chip_seed, float(age_s)),
        read_seed=0,
        chip=chip,
        precision=precision,
        cycle=cycle,
        attempts=attempts,
    )
    size, needed = torch.Size(shape), GradientsNeeded(*needs)
    forward_saved = _unpacked(parts, weight, array, size, dy.shape)
    # Within an operation autograd is off, and the plain physics differentiates by it; in a new
    # thread it is on.
    with ThreadPoolExecutor(1) as thread:
        job = thread.submit(backward, dy, forward_saved, call, needed, size, needed.dac)
        gradients = job.result()
    return [dy.new_empty(0) if g is None else _own(g) for g in gradients]


def _unpacked(
    parts: list[Tensor], weight: Tensor, array: Array, x_shape: torch.Size, y_shape: torch.Size
) -> SavedForBackward:
    """What the forward pass saved, in its shapes and dtypes again."""
    known = (None if t.numel() == 0 else t for t in parts)
    codes, scale, dac_bits, adc_bits, slope, wired = known
    assert codes is not None
    assert scale is not None
    if array.dac is not None and codes.dtype is torch.uint8:
        codes = codes.view(array.dac.storage)
    tiles, rows = array.tiling.tiles, array.tiling.rows
    scale = scale.view(tiles, -1)
    if slope is not None:
        slope = slope.view(array.currents_shape(y_shape))
    if wired is not None:
        wired = wired.view(array.mapping.devices, *scale.shape, rows)
    masks = (dac_bits, adc_bits)
    return SavedForBackward(codes.view(x_shape), weight, scale, *masks, slope, wired)


def _own(gradient: Tensor) -> Tensor:
    """``gradient``, contiguous, and in memory of its own."""
    if is_view(gradient):
        return gradient.clone(memory_format=torch.contiguous_format)
    return gradient.contiguous()


@_backward.register_fake
def _(
    dy: Tensor,
    weight: Tensor,
    saved: list[Tensor],
    handle: Tensor,
    needs: list[bool],
    shape: list[int],
    precision: torch.dtype | None,
) -> list[Tensor]:
    shapes = (shape, weight.shape, weight.shape[:1], saved[-4].shape, saved[-3].shape)
    return [dy.new_empty(s if need else (0,)) for s, need in zip(shapes, needs, strict=True)]


_forward.register_autograd(_gradients, setup_context=_remember)
_backward.register_autograd(refuse_second)
