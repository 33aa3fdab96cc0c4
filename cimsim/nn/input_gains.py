"""A digital gain of each input in front of the array, and its inverse in the weights.

    W_written = W g,    x_array = clip(x) / g

Inputs are clipped only where their range was learned, see :mod:`cimsim.nn.input_clip`. With exact
arithmetic the layer computes the same. With converters and noise it does not: where a
few inputs are much larger than all others, a gain above 1 moves the difference to the weights, so
that the DAC's steps are smaller for the others.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from cimsim.dtypes import as_dtype, keep_dtypes
from cimsim.errors import CimsimError
from cimsim.nn.input_clip import clipped


class InputGains(nn.Module):
    """Gains of a layer's inputs, or input channels.

    Weights and inputs are in the shapes of the array: ``weight [outputs, inputs / groups, ...]``,
    inputs ``[vectors, inputs, ...]``.

    Attributes:
        gains: ``[inputs]``, positive.
        clip: the learned range of the inputs before they are scaled; None for none. Both stay in
            float32 when the model is cast, as the ranges of the converters do.
    """

    gains: Tensor
    clip: Tensor | None

    def __init__(self, gains: Tensor, clip: Tensor | None = None) -> None:
        """
        Raises:
            CimsimError: if a gain is not positive or not finite.
        """
        super().__init__()
        self.register_buffer("gains", gains.detach().float())
        self.register_buffer("clip", None if clip is None else clip.detach().float().clone())
        self._check("gains")

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        precise = {name: buffer.detach() for name, buffer in self.named_buffers(recurse=False)}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        keep_dtypes(self, precise)
        return self

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *arguments: Any
    ) -> None:
        super()._load_from_state_dict(state_dict, prefix, *arguments)
        self._check(f"{prefix}gains")

    def _check(self, name: str) -> None:
        if not self.gains.is_meta and not ((self.gains > 0) & self.gains.isfinite()).all():
            raise CimsimError(f"'{name}' has numbers that are not positive and finite")

    def inputs(self, x: Tensor) -> Tensor:
        """Convert the inputs of the layer to those of the array."""
        if self.clip is not None:
            x = clipped(x, self.clip)
        # Divide by gains with the same number of digits as in the product with the weights.
        return as_dtype(x / self.gains.view(-1, *[1] * (x.dim() - 2)), x.dtype)

    def weights(self, weight: Tensor) -> Tensor:
        """Convert the weight of the layer to that of the array."""
        return weight * per_weight(self.gains, weight)

    def read_back(self, weight: Tensor) -> Tensor:
        """Inverse of :meth:`weights`."""
        return weight / per_weight(self.gains, weight)


def per_weight(of_inputs: Tensor, weight: Tensor) -> Tensor:
    """A number for each input of all groups, in a shape that broadcasts against the weights.

    ``of_inputs [inputs]`` and ``weight [outputs, inputs / groups, ...]`` give
    ``[outputs, inputs / groups, 1, ...]``, in the dtype of ``weight``.
    """
    outputs, inputs = weight.shape[:2]
    by_group = of_inputs.to(weight.dtype).view(-1, inputs)
    by_output = by_group.repeat_interleave(outputs // len(by_group), 0)
    return by_output.view(outputs, inputs, *[1] * (weight.dim() - 2))


def balancing_gains(largest_inputs: Tensor, largest_weights: Tensor, strength: float) -> Tensor:
    """Gains that move a part of the inputs' differences to the weights.

        g_k = max |x_k|^s / max |w_k|^(1 - s),   divided by their geometric mean

    ``s`` is the strength. An input that is always 0, or whose weights all are, gets the gain 1.

    Sources: Y. Hou et al., "NORA: noise-optimized rescaling of LLMs on analog compute-in-memory
    accelerators" (DATE 2025); G. Xiao et al., "SmoothQuant" (ICML 2023, arXiv:2211.10438).

    Args:
        largest_inputs: largest magnitude of each input, ``[inputs]``.
        largest_weights: largest magnitude of the weights of each input, ``[inputs]``.
        strength: from 0 to 1.

    >>> gains = balancing_gains(torch.tensor([1.0, 16.0]), torch.tensor([1.0, 1.0]), 0.5)
    >>> gains.tolist()
    [0.5, 2.0]
    """
    used = (largest_inputs > 0) & (largest_weights > 0)
    if not used.any():
        return torch.ones_like(largest_inputs)
    x, w = (torch.where(used, t, 1.0).double().log() for t in (largest_inputs, largest_weights))
    logs = strength * x - (1 - strength) * w
    logs = torch.where(used, logs - logs[used].mean(), 0.0)
    return logs.exp().to(largest_inputs.dtype)
