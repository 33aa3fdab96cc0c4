"""Placement of a layer's weights on cells: which column and row each is written to, and its sign.

Inputs and outputs are permuted and negated digitally, so that a layer with perfect cells computes
the same with any placement. With stuck cells and dead lines, it decides which weights are lost.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from cimsim.errors import CimsimError


class Placement(nn.Module):
    """A permutation of columns and rows, a sign of each column, and a change of what is written.

        W_written = s W[columns][:, rows] + shift

    Here weights, inputs and outputs are in the shapes of the array: ``weight [outputs, inputs,
    ...]``, inputs and outputs with columns or rows in dimension 1.

    Attributes:
        columns: the output that each column computes, ``[outputs]``.
        rows: the input (or input channel of a group) that each row gets, ``[inputs]``.
        signs: 1 or -1 for each column, int8.
        shift: what is written in addition, in the shape of the weight; None for nothing.
    """

    columns: Tensor
    rows: Tensor
    signs: Tensor
    shift: Tensor | None

    def __init__(self, weight: Tensor, shifted: bool = False) -> None:
        """Keep the order and the signs of ``weight``; add a ``shift`` of zero if ``shifted``."""
        super().__init__()
        device = weight.device
        self.register_buffer("columns", torch.arange(weight.shape[0], device=device))
        self.register_buffer("rows", torch.arange(weight.shape[1], device=device))
        self.register_buffer("signs", torch.ones(len(weight), dtype=torch.int8, device=device))
        self.register_buffer("shift", torch.zeros_like(weight.detach()) if shifted else None)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *arguments: Any
    ) -> None:
        super()._load_from_state_dict(state_dict, prefix, *arguments)
        for name in ("columns", "rows"):
            order: Tensor = getattr(self, name)
            if not torch.equal(order.sort().values, torch.arange(len(order), device=order.device)):
                raise CimsimError(f"'{prefix}{name}' is not a permutation of {len(order)} lines")
        if not (self.signs.abs() == 1).all():
            raise CimsimError(f"'{prefix}signs' contains numbers other than 1 and -1")

    @property
    def shifted(self) -> bool:
        """Whether something else than the weights is written."""
        return self.shift is not None

    def placed(self, weight: Tensor) -> Tensor:
        """``weight`` in the order of the cells, without the shift."""
        inputs = weight.index_select(0, self.columns).index_select(1, self.rows)
        return inputs * _along(self.signs, inputs, 0)

    def written(self, weight: Tensor) -> Tensor:
        """The weight to write for ``weight``."""
        placed = self.placed(weight)
        return placed if self.shift is None else placed + self.shift

    def read_back(self, written: Tensor) -> Tensor:
        """Inverse of :meth:`placed`: weights on the cells in the order of outputs and inputs."""
        signed = written * _along(self.signs, written, 0)
        return signed.index_select(0, self.columns.argsort()).index_select(1, self.rows.argsort())

    def unwritten(self, written: Tensor) -> Tensor:
        """Inverse of :meth:`written`."""
        return self.read_back(written if self.shift is None else written - self.shift)

    def inputs(self, x: Tensor) -> Tensor:
        """The inputs of the rows, for the layer's inputs; each group of a convolution alike."""
        grouped: Tensor = x.unflatten(1, (-1, len(self.rows)))
        return grouped.index_select(2, self.rows).flatten(1, 2)

    def bias(self, bias: Tensor) -> Tensor:
        """Convert the bias of the outputs to the bias of the columns."""
        return bias.index_select(0, self.columns) * self.signs.to(bias.dtype)

    def outputs(self, y: Tensor) -> Tensor:
        """Convert the results of the columns to the layer's outputs."""
        return (y * _along(self.signs, y, 1)).index_select(1, self.columns.argsort())


def _along(values: Tensor, like: Tensor, dim: int) -> Tensor:
    shape = [1] * like.dim()
    shape[dim] = -1
    return values.to(like.dtype).view(shape)
