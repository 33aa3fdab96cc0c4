"""Detection of plateaus of quantized training."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cimsim.nn import AnalogLayer, analog_layers
from cimsim.training.sharding import whole

_STILL = 0.01  # of the loss, in one epoch
_FEW_CODES = 0.005
_MOVING = 0.01  # of the weights' norm, in one epoch


@dataclass(frozen=True)
class Movement:
    """Change of the quantized weights in an epoch.

    Attributes:
        weights_moved: norm of the change of the latent weights, over their norm.
        codes_changed: fraction of the weights whose level has changed.
    """

    weights_moved: float
    codes_changed: float


class PlateauWatch:
    """Compares the quantized weights at the start and at the end of an epoch.

    With a straight-through estimator, the loss can be constant for long while latent weights move
    toward their next level, and then drop suddenly; the duration depends more on the quantizer's
    range than on its bits. On such a plateau, unlike at convergence, the weights change but the
    codes do not.

    Source: T. Ichikawa et al., "High-Dimensional Learning Dynamics of Quantized Models with
    Straight-Through Estimator", arXiv:2510.10693; the criterion is ours.
    """

    def __init__(self, model: nn.Module) -> None:
        self._layers = [
            layer
            for layer in analog_layers(model).values()
            if layer.weight_quantizer is not None
            and layer.weight_quantizer.codes(layer.to_matrix(layer.weight)) is not None
        ]
        self._before: list[tuple[Tensor, Tensor]] | None = None
        self._last_loss: float | None = None

    def begin(self) -> None:
        """Record the weights at the start of an epoch."""
        self._before = [_state(layer) for layer in self._layers] if self._layers else None

    def state(self) -> list[Tensor]:
        """Return the state for a checkpoint.

        It contains the last loss (NaN if there is none), then weight and levels of every layer at
        the start of the current epoch, if any.
        """
        last = math.nan if self._last_loss is None else self._last_loss
        before = [tensor for of_layer in self._before or () for tensor in of_layer]
        return [torch.tensor(last, dtype=torch.float64, device="cpu"), *before]

    def load(self, state: list[Tensor], within: bool) -> None:
        """Load the result of :meth:`state`; ``within`` is True in the middle of an epoch.

        Raises:
            ValueError: if the state belongs to another model.
        """
        if not state:  # a checkpoint of an older version
            return
        last, *before = state
        self._last_loss = None if last.isnan() else float(last)
        if not (within and self._layers):
            return
        now = [tensor for layer in self._layers for tensor in _state(layer)]
        if [(t.shape, t.dtype) for t in now] != [(t.shape, t.dtype) for t in before]:
            raise ValueError("the weights at the start of the epoch belong to another model")
        self._before = list(zip(before[::2], before[1::2], strict=True))

    def end(self, loss: float) -> tuple[Movement | None, str | None]:
        """Return the movement in an epoch with mean ``loss``, and a remark if it is a plateau."""
        last, self._last_loss = self._last_loss, loss
        begun, self._before = self._before, None
        if begun is None:
            return None, None
        moved = length = changed = count = 0.0
        for layer, (weight, codes) in zip(self._layers, begun, strict=True):
            now, now_codes = _state(layer)
            moved += float((now - weight).square().sum())
            length += float(weight.square().sum())
            changed += float((now_codes != codes).sum())
            count += weight.numel()
        movement = Movement((moved / max(length, 1e-30)) ** 0.5, changed / count)
        still = last is not None and abs(loss - last) <= _STILL * abs(last)
        if not (still and movement.codes_changed < _FEW_CODES < _MOVING < movement.weights_moved):
            return movement, None
        return movement, (
            f"the loss is on a plateau: the weights moved by {100 * movement.weights_moved:.1f} %, "
            f"but only {100 * movement.codes_changed:.2f} % of them changed their level; continue "
            "training until they reach the next level, or reduce the quantizer's range"
        )


@torch.no_grad()
def _state(layer: AnalogLayer) -> tuple[Tensor, Tensor]:
    """Return the latent weight and the indices of its levels."""
    assert layer.weight_quantizer is not None
    weight = whole(layer.weight)
    codes = layer.weight_quantizer.codes(layer.to_matrix(weight))
    assert codes is not None
    return weight.detach().clone(), codes
