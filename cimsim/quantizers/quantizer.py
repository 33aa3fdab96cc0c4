"""Base classes of quantizers, and groups of numbers that share a scale."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from cimsim.errors import CimsimError
from cimsim.seeds import generator

Bits = Annotated[int, Field(ge=1, le=16)]
Ridge = Annotated[float, Field(ge=0)]
Group = Literal["row", "tensor"] | Annotated[int, Field(ge=1)]
Codes = Literal["symmetric", "full", "unsigned"]

# The smallest scale of a group, to avoid division by zero for a group of zeros.
SMALLEST = 1e-30


class Quantizer(nn.Module):
    """Base class of modules that quantize a tensor and define a gradient estimator.

    A quantizer is applied to a layer's weight or input before the array. The first axis of a tensor
    is that of outputs (of a weight) or samples (of an input); the other axes form a row, over which
    products are summed. A quantizer may have parameters, which any optimizer of the model trains.
    """

    name: ClassVar[str]
    for_inputs: ClassVar[bool] = True  # False: only for weights

    def setup(self, x: Tensor) -> None:
        """Initialize from a first tensor; called once, before all other methods."""

    def name_draws(self, *owner: object) -> None:
        """Set the name of the owner, which seeds the random numbers of a random quantizer."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the quantized ``x``, in its shape and dtype."""
        raise NotImplementedError

    def advance(self, progress: float) -> None:
        """Set the progress of training, from 0 to 1; called before every step."""

    def step_size(self, x: Tensor) -> float | None:
        """Return the mean distance between the levels for ``x``; None if not defined."""
        return None

    def codes(self, x: Tensor) -> Tensor | None:
        """Return the indices of the levels for ``x``, in its shape; None if not defined."""
        return None

    def penalty(self) -> Tensor | None:
        """Return the term for the objective ``penalty``; None without penalty."""
        return None


class RandomQuantizer(Quantizer):
    """Base class of quantizers with random numbers, seeded by owner and number of uses."""

    def __init__(self) -> None:
        super().__init__()
        self._owner: tuple[object, ...] = ()
        self.draws = 0

    def name_draws(self, *owner: object) -> None:
        """Set the name of the owner, so that quantizers have independent random numbers."""
        self._owner = owner

    def _generator(self, device: torch.device) -> torch.Generator:
        """Return the generator of the next use, and count it."""
        self.draws += 1
        return generator(self.name, *self._owner, self.draws - 1, device=device)

    def get_extra_state(self) -> Tensor:
        """Return the number of uses, so that a resumed training continues the random numbers."""
        return torch.tensor(self.draws, dtype=torch.int64, device="cpu")

    def set_extra_state(self, state: Tensor) -> None:
        """Load the result of :meth:`get_extra_state`."""
        self.draws = int(state)


class Groups:
    """Rearrangement of ``x`` to groups of numbers that share statistics, ``[groups, members]``.

    ``group`` is ``"row"`` (all numbers of an output or sample), ``"tensor"`` (all numbers), or the
    length of a block along the row; if the row is not a multiple of it, the last block is shorter
    and is padded with zeros that the statistics exclude.
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
        """Return the mean over each group, ``[groups, 1]``; ``values`` has the grouped shape."""
        if self.mask is None:
            return values.mean(1, keepdim=True)
        return self.total(values) / self.count

    def total(self, values: Tensor) -> Tensor:
        """Return the sum over each group, ``[groups, 1]``."""
        return self.counted(values).sum(1, keepdim=True)

    def counted(self, values: Tensor) -> Tensor:
        """Return ``values`` with zeros in the padding."""
        return values if self.mask is None else torch.where(self.mask, values, 0.0)

    def low(self) -> Tensor:
        """Return the smallest member of each group, ``[groups, 1]``."""
        return self._extreme(torch.inf).amin(1, keepdim=True)

    def high(self) -> Tensor:
        """Return the largest member of each group, ``[groups, 1]``."""
        return self._extreme(-torch.inf).amax(1, keepdim=True)

    def largest(self) -> Tensor:
        """Return the largest magnitude in each group, ``[groups, 1]``."""
        return self.values.abs().amax(1, keepdim=True)

    def _extreme(self, fill: float) -> Tensor:
        return self.values if self.mask is None else torch.where(self.mask, self.values, fill)

    def whole(self, values: Tensor) -> Tensor:
        """Return ``values`` in the shape of the original tensor."""
        if self._padding:
            values = values.reshape(-1, self._row + self._padding)[:, : self._row]
        return values.reshape(self._shape)


def code_range(bits: int, codes: Codes) -> tuple[int, int]:
    """Return the lowest and the highest code of ``bits`` bits.

    ``symmetric`` has as many codes above zero as below, one fewer than the bits allow, as cells in
    pairs do; ``full`` is two's complement; ``unsigned`` starts at zero.

    Raises:
        CimsimError: for one bit of ``full``, which has no positive code.

    >>> [code_range(2, codes) for codes in ("symmetric", "full", "unsigned")]
    [(-1, 1), (-2, 1), (0, 3)]
    """
    if codes == "unsigned":
        return 0, 2**bits - 1
    highest = 2 ** (bits - 1) - 1
    if codes == "symmetric":
        return -highest, highest
    if bits == 1:
        raise CimsimError("levels=full needs two bits or more, because one has no positive level")
    return -highest - 1, highest


def through(x: Tensor, q: Tensor) -> Tensor:
    """Return ``q`` with the gradient of ``x`` (straight-through estimator)."""
    return x + (q - x).detach()
