"""Digital adapters: a trained change of a layer's weight that is computed beside its array.

    y = array(x) + x dW^T

The cells stay as they are. On a chip, ``x dW^T`` is computed by a small digital unit from the same
inputs; here it is one more digital product. :mod:`cimsim.nn.adapters` is about adapters of the PEFT
library, which are layers of their own.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from cimsim.errors import CimsimError
from cimsim.suggest import unknown


class WeightAdapter(nn.Module, ABC):
    """A trained change of a weight matrix.

    Attributes:
        kind: name of the class in files.
    """

    kind: ClassVar[str]

    @abstractmethod
    def delta(self) -> Tensor:
        """The change ``dW [outputs, inputs]``, differentiable in the adapter's parameters."""

    @property
    @abstractmethod
    def size(self) -> int:
        """The size argument of the constructor, besides the sizes of the matrix."""

    @property
    def numbers(self) -> int:
        """Trained numbers."""
        return sum(parameter.numel() for parameter in self.parameters())


class LowRankAdapter(WeightAdapter):
    """``dW = B A`` with ``A [rank, inputs]`` and ``B [outputs, rank]``; ``B`` begins at zero.

    Source: E. Hu et al., "LoRA" (arXiv:2106.09685).
    """

    kind = "low-rank"

    def __init__(self, outputs: int, inputs: int, size: int) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.zeros(size, inputs, device="cpu"))
        self.b = nn.Parameter(torch.zeros(outputs, size, device="cpu"))

    @property
    def size(self) -> int:
        """The rank."""
        return len(self.a)

    def start(self, generator: torch.Generator) -> None:
        """Draw ``A`` with variance ``1 / inputs``."""
        with torch.no_grad():
            drawn = torch.empty(self.a.shape, dtype=torch.float32, device=generator.device)
            drawn.normal_(generator=generator)
            self.a.copy_(drawn / math.sqrt(self.a.shape[1]))

    def delta(self) -> Tensor:
        """See :class:`WeightAdapter`."""
        return self.b @ self.a


class SparseAdapter(WeightAdapter):
    """``dW`` with ``size`` entries at fixed places, which are drawn once; all others are zero.

    Source: G. Charan et al., "Accurate inference with inaccurate RRAM devices: statistical data,
    model transfer, and on-line adaptation" (DAC 2020): random sparse adaptation.
    """

    kind = "sparse"
    places: Tensor

    def __init__(self, outputs: int, inputs: int, size: int) -> None:
        super().__init__()
        self.shape = (outputs, inputs)
        self.register_buffer("places", torch.arange(size, device="cpu"))
        self.values = nn.Parameter(torch.zeros(size, device="cpu"))

    @property
    def size(self) -> int:
        """The number of entries."""
        return len(self.values)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *arguments: Any
    ) -> None:
        super()._load_from_state_dict(state_dict, prefix, *arguments)
        if not ((self.places >= 0) & (self.places < math.prod(self.shape))).all():
            raise CimsimError(f"'{prefix}places' are not all within {list(self.shape)}")

    def start(self, generator: torch.Generator) -> None:
        """Draw the places."""
        count, device = math.prod(self.shape), generator.device
        drawn = torch.randperm(count, generator=generator, device=device)[: self.size]
        self.places.copy_(drawn.sort().values)

    def delta(self) -> Tensor:
        """See :class:`WeightAdapter`."""
        flat = self.values.new_zeros(math.prod(self.shape))
        return flat.index_put((self.places,), self.values).view(self.shape)


_KINDS: dict[str, type[LowRankAdapter] | type[SparseAdapter]] = {
    kind.kind: kind for kind in (LowRankAdapter, SparseAdapter)
}


def make_adapters(sizes: Mapping[str, int], matrix: Tensor, name: str) -> nn.ModuleDict | None:
    """Adapters of the kinds and ``sizes`` for ``matrix [outputs, ...]`` of the layer ``name``; None
    without any.

    Raises:
        CimsimError: if there is no such kind, or a size does not fit the matrix.
    """
    if not sizes:
        return None
    outputs, inputs = len(matrix), math.prod(matrix.shape[1:])
    made = nn.ModuleDict()
    for kind, size in sizes.items():
        if kind not in _KINDS:
            raise CimsimError(unknown("adapter", kind, _KINDS))
        largest = min(outputs, inputs) if kind == LowRankAdapter.kind else outputs * inputs
        if not 1 <= size <= largest:
            raise CimsimError(
                f"layer '{name}': the size of its {kind} adapter must be 1 to {largest}, not {size}"
            )
        made[kind] = _KINDS[kind](outputs, inputs, size).to(matrix.device, matrix.dtype)
    return made


def sizes_of(adapters: nn.ModuleDict | None) -> dict[str, int]:
    """Inverse of :func:`make_adapters`."""
    given = {} if adapters is None else dict(adapters.items())
    return {kind: each.size for kind, each in given.items() if isinstance(each, WeightAdapter)}
