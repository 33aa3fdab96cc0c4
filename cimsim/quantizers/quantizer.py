"""The base of all quantizers, and groups of numbers that share a scale."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from cimsim.seeds import generator

Bits = Annotated[int, Field(ge=1, le=16)]
Ridge = Annotated[float, Field(ge=0)]
Group = Literal["row", "tensor"] | Annotated[int, Field(ge=1)]

# The least scale of a group, so that a group of zeros divides by something.
SMALLEST = 1e-30


class Quantizer(nn.Module):
    """Maps a tensor to one with fewer bits per number, with a gradient of its choice.

    Applied to a layer's weight (or input) in front of the array. The first axis of a tensor counts
    outputs (of a weight) or samples (of an input); the rest is one row, over which products run.
    A quantizer may have parameters of its own, which any optimizer of the model trains.
    """

    name: ClassVar[str]
    for_inputs: ClassVar[bool] = True  # or for weights only

    def setup(self, x: Tensor) -> None:
        """Initialize from a first tensor; called once, before anything else."""

    def name_draws(self, *owner: object) -> None:
        """Set the owner's name, for quantizers that draw random numbers."""

    def forward(self, x: Tensor) -> Tensor:
        """``x`` quantized, in its shape and dtype."""
        raise NotImplementedError

    def advance(self, progress: float) -> None:
        """Set the progress of training, from 0 to 1; called before every step."""

    def step_size(self, x: Tensor) -> float | None:
        """Mean distance of the levels that ``x`` is rounded to; None if undefined."""
        return None

    def codes(self, x: Tensor) -> Tensor | None:
        """Numbers of the levels that ``x`` is rounded to, in its shape; None if there are none."""
        return None

    def penalty(self) -> Tensor | None:
        """The term of the objective ``penalty``; None if there is none."""
        return None


class RandomQuantizer(Quantizer):
    """A quantizer that draws random numbers: the same names, seed and count, the same numbers."""

    def __init__(self) -> None:
        super().__init__()
        self._owner: tuple[object, ...] = ()
        self.draws = 0

    def name_draws(self, *owner: object) -> None:
        """Set the owner's name, so that no two quantizers draw the same numbers."""
        self._owner = owner

    def _generator(self, device: torch.device) -> torch.Generator:
        """A generator for the next use; counts the uses."""
        self.draws += 1
        return generator(self.name, *self._owner, self.draws - 1, device=device)

    def get_extra_state(self) -> Tensor:
        """The count of uses, so that resumed training continues with the same draws."""
        return torch.tensor(self.draws, dtype=torch.int64)

    def set_extra_state(self, state: Tensor) -> None:
        """Inverse of :meth:`get_extra_state`."""
        self.draws = int(state)


class Groups:
    """``x`` as rows of numbers that share their statistics, ``[groups, members]``.

    ``group`` is ``"row"`` (all of one output or sample), ``"tensor"`` (everything), or the length
    of a block along the row; a row that is no multiple of it has a shorter last block, padded here
    with zeros that do not count.
    """

    def __init__(self, x: Tensor, group: Group) -> None:
        self._shape = x.shape
        rows = x.reshape(1, -1) if group == "tensor" or x.dim() < 2 else x.flatten(1)
        self._row = rows.shape[1]
        self._padding = 0
        if isinstance(group, int):
            self._padding = -self._row % group
            rows = torch.nn.functional.pad(rows, (0, self._padding))
            rows = rows.reshape(-1, group)
        self.values = rows
        self.count: Tensor | int = rows.shape[1]
        self.mask: Tensor | None = None
        if self._padding:
            assert isinstance(group, int)
            blocks = (self._row + self._padding) // group
            lengths = rows.new_full((blocks, 1), group)
            lengths[-1] -= self._padding
            lengths = lengths.repeat(len(rows) // blocks, 1)
            self.count = lengths
            self.mask = torch.arange(group, device=x.device) < lengths

    def mean(self, values: Tensor) -> Tensor:
        """Mean over each group, ``[groups, 1]``; ``values`` as :attr:`values`."""
        if self.mask is None:
            return values.mean(1, keepdim=True)
        return self.total(values) / self.count

    def total(self, values: Tensor) -> Tensor:
        """Sum over each group, ``[groups, 1]``."""
        return self.counted(values).sum(1, keepdim=True)

    def counted(self, values: Tensor) -> Tensor:
        """``values`` with zeros in the padding."""
        return values if self.mask is None else torch.where(self.mask, values, 0.0)

    def low(self) -> Tensor:
        """Smallest member of each group, ``[groups, 1]``."""
        return self._extreme(torch.inf).amin(1, keepdim=True)

    def high(self) -> Tensor:
        """Largest member of each group, ``[groups, 1]``."""
        return self._extreme(-torch.inf).amax(1, keepdim=True)

    def largest(self) -> Tensor:
        """Largest magnitude in each group, ``[groups, 1]``."""
        return self.values.abs().amax(1, keepdim=True)

    def _extreme(self, fill: float) -> Tensor:
        return self.values if self.mask is None else torch.where(self.mask, self.values, fill)

    def whole(self, values: Tensor) -> Tensor:
        """``values`` in the shape of the tensor that was grouped."""
        if self._padding:
            values = values.reshape(-1, self._row + self._padding)[:, : self._row]
        return values.reshape(self._shape)


def through(x: Tensor, q: Tensor) -> Tensor:
    """``q`` with the gradient of ``x``: the straight-through estimator."""
    return x + (q - x).detach()
