"""An analog layer as one operation of ``torch.compile``'s graphs.

What happens in a layer is drawn anew at each call, cached by chip, and done by kernels of its own:
a compiler would find little in it to improve, and would trace it again at each step. So a compiled
graph holds the layer as one opaque operation, and what lies around it is compiled. The operation
does what the layer does without ``torch.compile``, with the same draws.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from cimsim.array import NOTHING, ConverterRanges
from cimsim.estimators.function import Call, Kept, Needs, backward, forward
from cimsim.estimators.once import refuse_second
from cimsim.nn.computed import written_by_hook
from cimsim.profile import LearnedRange
from cimsim.torch_private import is_view

if TYPE_CHECKING:
    from cimsim.nn.layer import AnalogLayer

_layers: WeakValueDictionary[int, AnalogLayer] = WeakValueDictionary()
_handles = count()


def register(layer: AnalogLayer) -> int:
    """A number by which a graph finds ``layer`` again."""
    handle = next(_handles)
    _layers[handle] = layer
    return handle


def analog(
    layer: AnalogLayer,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    precision: torch.dtype | None,
) -> Tensor:
    """What :func:`cimsim.estimators.analog_matmul` gives for ``layer``, as one operation."""
    dac, adc = layer.profile.dac.range, layer.profile.adc.range
    learned = (isinstance(dac, LearnedRange), isinstance(adc, LearnedRange))
    graded = torch.is_grad_enabled()
    needs = [
        graded and x.requires_grad,
        graded and weight.requires_grad,
        graded and bias is not None and bias.requires_grad,
        graded and learned[0] and layer.dac_range.requires_grad,
        graded and learned[1] and layer.adc_range.requires_grad,
    ]
    ranges = (layer.dac_range, layer.adc_range)
    layer.calls.add_(1)  # so that a graph never takes two calls for the same
    found: list[Tensor] = _forward(
        x, weight, bias, *ranges, layer.calls, layer.handle, needs, precision
    )
    return found[0]


@torch.library.custom_op("cimsim::analog", mutates_args=())
def _forward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    dac_range: Tensor,
    adc_range: Tensor,
    calls: Tensor,
    handle: int,
    needs: list[bool],
    precision: torch.dtype | None,
) -> list[Tensor]:
    """The output; then what is kept for backward, empty where there is nothing: the parts of
    ``Kept`` but the weight, both ranges, the chip's seed and write cycle, its age in s."""
    layer = _layers[handle]
    # Within a compiled graph, hooks write the weight into the layer after the graph has run.
    call = layer.next_call(precision, weight if written_by_hook(layer) else None)
    if not any(needs):
        y = call.read(x, call.held(weight), bias, NOTHING).y
        return [y, *(x.new_empty(0) for _ in range(11))]
    y, kept = forward(x, weight, bias, call, Needs(*needs), share_input=False)
    kept_input = x.clone() if kept.input is x else kept.input
    others = [x.new_empty(0) if t is None else t for t in kept[3:]]
    # Of a chip that is used again the scale belongs to the chip.
    return [
        *(y, kept_input, kept.scale.clone(), *others, call.ranges.dac, call.ranges.adc),
        *(torch.tensor(number) for number in (call.chip_seed, call.cycle)),
        torch.tensor(call.age_s, dtype=torch.float64),
    ]


@_forward.register_fake
def _(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    dac_range: Tensor,
    adc_range: Tensor,
    calls: Tensor,
    handle: int,
    needs: list[bool],
    precision: torch.dtype | None,
) -> list[Tensor]:
    layer = _layers[handle]
    array = layer.array
    y = x.new_empty(array.tiling.output_shape_of(x.shape, weight.shape[0]))
    empty = x.new_empty(0)
    if not any(needs):
        return [y, *[empty] * 11]
    needed, slopes = Needs(*needs), layer.rule.needs_slopes
    z_shape = array.currents_shape(y.shape)
    lines = array.tiling.lines(z_shape)
    codes = x if array.dac is None else x.to(array.dac.storage)
    scale = x.new_empty(array.tiling.tiles, z_shape[array.tiling.column_dim])
    dac_bits = adc_bits = dac_slope = adc_slope = empty
    if array.dac is not None:
        if slopes and needed.x:
            dac_bits = x.new_empty((x.numel() + 7) // 8, dtype=torch.uint8)
        if needed.dac:
            dac_slope = torch.empty_like(x)
    if array.adc is not None:
        if slopes:
            count_of_lines = lines.outer * lines.tiles * lines.lines
            adc_bits = x.new_empty(count_of_lines * ((lines.line + 7) // 8), dtype=torch.uint8)
        if needed.adc:
            adc_slope = x.new_empty(z_shape)
    return [
        *(y, torch.empty_like(codes), scale, dac_bits, adc_bits, dac_slope, adc_slope),
        *(x.new_empty(dac_range.shape), x.new_empty(adc_range.shape)),
        *(torch.empty((), dtype=torch.int64) for _ in ("seed", "cycle")),
        torch.empty((), dtype=torch.float64),
    ]


def _remember(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    x, weight, _, _, _, _, ctx.handle, ctx.forward_needs, ctx.precision = inputs
    ctx.x_shape = x.shape
    ctx.save_for_backward(weight, *output[1:])


def _gradients(ctx: Any, grads: list[Tensor]) -> tuple[Tensor | None, ...]:
    weight, *kept = ctx.saved_tensors
    needs = list(ctx.forward_needs)
    shape = list(ctx.x_shape)
    found = _backward(grads[0].contiguous(), weight, kept, ctx.handle, needs, shape, ctx.precision)
    wanted = [g if need else None for g, need in zip(found, needs, strict=True)]
    return *wanted, None, None, None, None


@torch.library.custom_op("cimsim::analog_backward", mutates_args=())
def _backward(
    dy: Tensor,
    weight: Tensor,
    kept: list[Tensor],
    handle: int,
    needs: list[bool],
    shape: list[int],
    precision: torch.dtype | None,
) -> list[Tensor]:
    """The gradients of :class:`Needs`, empty where nobody needs one."""
    kept_input, scale, *others, dac_range, adc_range, chip_seed, cycle, age_s = kept
    layer = _layers[handle]
    ranges = ConverterRanges(dac_range, adc_range)
    state = (layer.array, layer.rule, ranges, int(chip_seed), float(age_s))
    call = Call(*state, read_seed=0, precision=precision, cycle=int(cycle))
    rest = (None if t.numel() == 0 else t for t in others)
    what = Kept(kept_input, weight, scale, *rest)
    # Within an operation autograd is switched off, and the plain physics differentiates by it; a
    # thread of its own begins with everything switched on.
    with ThreadPoolExecutor(1) as thread:
        size = torch.Size(shape)
        found = thread.submit(backward, dy, what, call, Needs(*needs), size, False).result()
    return [dy.new_empty(0) if g is None else g.clone() if is_view(g) else g for g in found]


@_backward.register_fake
def _(
    dy: Tensor,
    weight: Tensor,
    kept: list[Tensor],
    handle: int,
    needs: list[bool],
    shape: list[int],
    precision: torch.dtype | None,
) -> list[Tensor]:
    shapes = (shape, weight.shape, weight.shape[:1], kept[6].shape, kept[7].shape)
    return [dy.new_empty(s if need else (0,)) for s, need in zip(shapes, needs, strict=True)]


_forward.register_autograd(_gradients, setup_context=_remember)
_backward.register_autograd(refuse_second)
