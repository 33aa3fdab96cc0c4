"""A chip of the user's own behind a converted model: any function that multiplies.

    y = chip(layer, x),   x [vectors, inputs],   y [vectors, columns]

The function may ask a bench over a socket, read a measured table, or simulate in any other way.
Cells, converters and noise of the profile are not used then; everything digital around the arrays
(biases, denoisers, adapters, other modules) is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor

from cimsim.array import Tiling
from cimsim.errors import CimsimError
from cimsim.named import described
from cimsim.torch_private import not_compiled

Multiply: TypeAlias = "Callable[[str, Tensor], Any]"
"""``chip(layer, x)``: the product of ``x [vectors, inputs]`` with the weights of ``layer``, a name
in the model, as ``[vectors, columns]``; a tensor or an array of NumPy."""


class OwnChip:
    """The array of one layer, computed by a function of the user."""

    def __init__(self, multiply: Multiply, name: str) -> None:
        if not callable(multiply):
            raise CimsimError(
                f"a chip must be a function chip(layer, x) that returns the product, not a "
                f"{type(multiply).__name__}"
            )
        self.multiply, self.name = multiply, name

    def __deepcopy__(self, memo: dict[int, Any]) -> OwnChip:
        return self  # there is only one chip, such as a test bench

    @not_compiled  # it runs the user's function
    def product(self, x: Tensor, weight: Tensor, bias: Tensor | None, tiling: Tiling) -> Tensor:
        """The product of ``x`` and ``weight``, in the shapes of ``tiling``, as the chip computes
        it, plus ``bias``; its gradient is that of the exact product.

        Raises:
            CimsimError: if the function fails, or returns something else than finite numbers for
                each vector and column.
        """
        with torch.no_grad():
            y = self._measured(x.detach(), weight, tiling)
        if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
            exact = tiling.accumulate(tiling.product(x, tiling.to_cells(weight)))
            y = exact + (y - exact).detach()
        return y if bias is None else y + bias.view(-1, *[1] * (y.dim() - 2))

    def _measured(self, x: Tensor, weight: Tensor, tiling: Tiling) -> Tensor:
        rows = tiling.row_inputs(x)  # [groups, vectors, inputs of a group]
        vectors, columns = rows.movedim(0, 1).flatten(1), len(weight)
        returned = self._called(vectors, columns)
        by_group = returned.to(x).t().reshape(len(rows), columns // len(rows), len(vectors))
        return tiling.accumulate(tiling.from_columns(by_group, x.shape))

    def _called(self, vectors: Tensor, columns: int) -> Tensor:
        where = f"the chip, called for layer '{self.name}' with {len(vectors)} vectors,"
        try:
            returned = self.multiply(self.name, vectors)
        except CimsimError:
            raise
        except Exception as error:
            raise CimsimError(f"{where} failed: {described(error)}") from error
        try:
            y = torch.as_tensor(returned)
        except (TypeError, ValueError, RuntimeError):
            raise CimsimError(
                f"{where} returned a {type(returned).__name__}; return a tensor or an array of "
                f"shape [{len(vectors)}, {columns}]"
            ) from None
        if tuple(y.shape) != (len(vectors), columns):
            raise CimsimError(
                f"{where} returned the shape {list(y.shape)}, not [{len(vectors)}, {columns}], one "
                "row for each vector and one number for each column"
            )
        if not y.isfinite().all():
            raise CimsimError(f"{where} returned NaN or infinite numbers")
        return y
