"""An analog layer as one operation of ``torch.compile``'s graphs.

A layer draws random numbers at each call, caches chips, and runs compiled kernels: a compiler would
find little to improve, and would trace it again at each step. So a compiled graph contains the
layer as one opaque operation, which computes the same as without ``torch.compile``, with the same
draws; everything around it is compiled.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any, Protocol, cast
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn

from cimsim.array import SAVE_NOTHING, Array, Chip, ConverterRanges
from cimsim.errors import CimsimError
from cimsim.estimators import BackwardRule, MvmCall
from cimsim.estimators.function import GradientsNeeded, SavedForBackward, backward, forward
from cimsim.estimators.once import refuse_second
from cimsim.nn.computed import written_by_hook
from cimsim.profile import LearnedRange, Profile
from cimsim.torch_private import is_view


class Operand(Protocol):
    """The part of an analog layer that the operation uses."""

    dac_range: Tensor
    adc_range: Tensor
    calls: Tensor
    handle: int
    rule: BackwardRule

    @property
    def array(self) -> Array:
        """Cells and converters."""

    @property
    def profile(self) -> Profile:
        """The array's profile."""

    def held_chip(self, chip_seed: int, cycle: int, age_s: float) -> Chip | None:
        """The chip of that name and age, if the layer keeps it."""

    def attempts_of(self, chip_seed: int, cycle: int, age_s: float) -> Tensor | None:
        """How often each weight of that chip was written again."""

    def next_call(self, precision: torch.dtype | None, operand: Tensor | None) -> MvmCall:
        """The next multiplication to simulate."""


_layers: WeakValueDictionary[int, Operand] = WeakValueDictionary()
_handles = count()


def register(layer: Operand) -> int:
    """A number that identifies ``layer`` in graphs."""
    handle = next(_handles)
    _layers[handle] = layer
    return handle


def _layer(handle: int) -> Operand:
    """The layer of that number.

    Raises:
        CimsimError: if it does not exist any more; graphs refer to layers without keeping them.
    """
    layer = _layers.get(handle)
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
    layer.calls.add_(1)  # so that a graph never merges two calls
    results: list[Tensor] = _forward(
        x, weight, bias, *ranges, layer.calls, layer.handle, needs, precision
    )
    return results[0]


# torch caches compiled graphs by the names of their operations: an operation whose arguments or
# results change needs a new name.
@torch.library.custom_op("cimsim::analog_layer", mutates_args=())
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
    """The output; then tensors for backward, empty where there is nothing: the parts of
    :class:`SavedForBackward` except the weight, both ranges, the chip's seed and write cycle, its
    age in s."""
    layer = _layer(handle)
    # Within a compiled graph, hooks write the weight to the layer after the graph has run.
    by_hook = written_by_hook(cast(nn.Module, layer))
    call = layer.next_call(precision, weight if by_hook else None)
    if not any(needs):
        y = call.read(x, call.chip_for(weight), bias, SAVE_NOTHING).y
        return [y, *(x.new_empty(0) for _ in range(11))]
    needed = GradientsNeeded(*needs)
    y, saved = forward(x, weight, bias, call, needed, share_input=needed.dac)
    saved_input = x.clone() if saved.input is x else saved.input
    # An operation must not return a tensor that a cached chip owns.
    wired_uS = None if saved.wired_uS is None else saved.wired_uS.clone()
    others = [x.new_empty(0) if t is None else t for t in (*saved[3:6], wired_uS)]
    return [
        *(y, saved_input, saved.scale.clone(), *others),
        *(call.ranges.dac.clone(), call.ranges.adc.clone()),
        *(torch.tensor(number, device="cpu") for number in (call.chip_seed, call.cycle)),
        torch.tensor(call.age_s, dtype=torch.float64, device="cpu"),
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
    layer = _layer(handle)
    array = layer.array
    y = x.new_empty(array.tiling.output_shape_of(x.shape, weight.shape[0]))
    empty = x.new_empty(0)
    if not any(needs):
        return [y, *[empty] * 11]
    needed, slopes = GradientsNeeded(*needs), layer.rule.needs_slopes
    z_shape = array.currents_shape(y.shape)
    lines = array.tiling.lines(z_shape)
    codes = x if array.dac is None or needed.dac else x.to(array.dac.storage)
    scale = x.new_empty(array.tiling.tiles, z_shape[array.tiling.column_dim])
    dac_bits = adc_bits = adc_slope = wired_uS = empty
    if array.dac is not None and slopes and needed.x and not needed.dac:
        dac_bits = x.new_empty((x.numel() + 7) // 8, dtype=torch.uint8)
    if array.adc is not None:
        if slopes:
            count_of_lines = lines.outer * lines.tiles * lines.lines
            adc_bits = x.new_empty(count_of_lines * ((lines.line + 7) // 8), dtype=torch.uint8)
        if needed.adc:
            adc_slope = x.new_empty(z_shape)
    if array.keeps_wired and layer.rule.needs_programmed:
        wired_uS = x.new_empty(array.mapping.devices, *scale.shape, array.tiling.rows)
    return [
        *(y, torch.empty_like(codes), scale, dac_bits, adc_bits, adc_slope, wired_uS),
        *(x.new_empty(dac_range.shape), x.new_empty(adc_range.shape)),
        *(torch.empty((), dtype=torch.int64, device="cpu") for _ in ("seed", "cycle")),
        torch.empty((), dtype=torch.float64, device="cpu"),
    ]


def _remember(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    x, weight, _, _, _, _, ctx.handle, ctx.forward_needs, ctx.precision = inputs
    ctx.x_shape = x.shape
    ctx.save_for_backward(weight, *output[1:])


def _gradients(ctx: Any, grads: list[Tensor]) -> tuple[Tensor | None, ...]:
    weight, *saved = ctx.saved_tensors
    needs, shape = list(ctx.forward_needs), list(ctx.x_shape)
    dy = grads[0].contiguous()
    gradients = _backward(dy, weight, saved, ctx.handle, needs, shape, ctx.precision)
    needed = [g if need else None for g, need in zip(gradients, needs, strict=True)]
    return *needed, None, None, None, None


@torch.library.custom_op("cimsim::analog_layer_backward", mutates_args=())
def _backward(
    dy: Tensor,
    weight: Tensor,
    saved: list[Tensor],
    handle: int,
    needs: list[bool],
    shape: list[int],
    precision: torch.dtype | None,
) -> list[Tensor]:
    """The gradients of :class:`GradientsNeeded`, empty if not needed."""
    saved_input, scale, *others, dac_range, adc_range, chip_seed, cycle, age_s = saved
    layer = _layer(handle)
    ranges = ConverterRanges(dac_range, adc_range)
    name = int(chip_seed), int(cycle), float(age_s)
    call = MvmCall(
        *(layer.array, layer.rule, ranges, name[0], name[2]),
        read_seed=0,
        chip=layer.held_chip(*name),
        precision=precision,
        cycle=name[1],
        attempts=layer.attempts_of(*name),
    )
    rest = (None if t.numel() == 0 else t for t in others)
    forward_saved = SavedForBackward(saved_input, weight, scale, *rest)
    gradients_needed = GradientsNeeded(*needs)
    # Within an operation autograd is off, and the plain physics differentiates by it; in a new
    # thread it is on.
    with ThreadPoolExecutor(1) as thread:
        size = torch.Size(shape)
        shares = gradients_needed.dac
        job = thread.submit(backward, dy, forward_saved, call, gradients_needed, size, shares)
        gradients = job.result()
    return [dy.new_empty(0) if g is None else g.clone() if is_view(g) else g for g in gradients]


@_backward.register_fake
def _(
    dy: Tensor,
    weight: Tensor,
    saved: list[Tensor],
    handle: int,
    needs: list[bool],
    shape: list[int],
    precision: torch.dtype | None,
) -> list[Tensor]:
    shapes = (shape, weight.shape, weight.shape[:1], saved[-5].shape, saved[-4].shape)
    return [dy.new_empty(s if need else (0,)) for s, need in zip(shapes, needs, strict=True)]


_forward.register_autograd(_gradients, setup_context=_remember)
_backward.register_autograd(refuse_second)
