"""What is added to a layer once its chip is programmed: see :func:`cimsim.adapt`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from cimsim.array import Array, Tiling, add_spares, drop_spares
from cimsim.dtypes import as_dtype
from cimsim.errors import CimsimError
from cimsim.nn.converter_ranges import compute_dtype
from cimsim.nn.denoiser import ColumnDenoiser, make_denoiser
from cimsim.nn.input_gains import InputGains
from cimsim.nn.own_chip import OwnChip
from cimsim.nn.placement import Placement
from cimsim.nn.quantized import Quantized
from cimsim.nn.rewrites import Rewrites
from cimsim.nn.weight_adapters import WeightAdapter, make_adapters


class Adapted(Quantized):
    """A layer with corrections of its chip, each None without.

    Attributes:
        denoiser: a digital gain and offset behind the ADC.
        adapters: changes of its weight that are computed digitally, by kind.
        input_gains: digital gains in front of the DAC, with their inverse in the weights.
        placement: order and signs in which its weights are written.
        rewrites: how often each weight was written again.
        own_chip: computes the product instead of the simulated array.
    """

    name: str
    denoiser: ColumnDenoiser | None
    adapters: nn.ModuleDict | None
    input_gains: InputGains | None
    placement: Placement | None
    rewrites: Rewrites | None
    own_chip: OwnChip | None
    _array: Array

    def _start_unadapted(self) -> None:
        self.denoiser = self.adapters = self.input_gains = self.placement = None
        self.rewrites = self.own_chip = None

    @property
    def fits_one_chip(self) -> bool:
        """Whether the layer has adapters, a placement or repeated writes, which belong to the
        errors of one chip."""
        return any(each is not None for each in (self.adapters, self.placement, self.rewrites))

    def denoise(self, ridge: float | None) -> None:
        """Set the correction of every column behind the ADC, see :class:`ColumnDenoiser`; None for
        nothing.

        Raises:
            CimsimError: if the ridge is negative or not finite.
        """
        self.denoiser = None
        if ridge is not None:
            denoiser = make_denoiser(self.outputs, ridge).to(self.weight.device)
            self.denoiser = denoiser.train(self.training)

    def adapt_weight(self, sizes: Mapping[str, int]) -> None:
        """Set new adapters of these kinds and sizes, see :mod:`cimsim.nn.weight_adapters`; none
        for nothing.

        Raises:
            CimsimError: if there is no such kind, or a size does not fit the weight.
        """
        self.adapters = None
        self.adapters = make_adapters(sizes, self.to_matrix(self.weight.detach()), self.name)

    def scale_inputs(self, gains: InputGains | None) -> None:
        """Set the ``gains`` in front of the DAC; None for nothing. The ranges of the converters
        stay, but belong to other signals: measure them again."""
        self.input_gains = None
        self.input_gains = gains
        self._chip_changed()

    def place(self, placement: Placement | None) -> None:
        """Write the weights with another ``placement``; None for their own order."""
        self.placement = None
        self.placement = placement
        self._chip_changed()

    def _refuse_other_columns(self, array: Array) -> None:
        """
        Raises:
            CimsimError: if the weights are placed on more or fewer columns than ``array`` has.
        """
        spares = array.profile.array.spare_columns
        if self.placement is not None and spares != self._spares:
            placed = len(self.placement.columns)
            columns = placed + (spares - self._spares) * self.groups_of_columns
            raise CimsimError(
                f"layer '{self.name}' is placed on {placed} columns, and with "
                f"array.spare_columns={spares} it has {columns}; set the profile first and then "
                "use cimsim.adapt, or remove the placement: layer.place(None)"
            )

    def rewrite(self, rewrites: Rewrites | None) -> None:
        """Write weights again as often as ``rewrites`` counts; None for never."""
        self.rewrites = None
        self.rewrites = rewrites
        self._chip_changed()

    @property
    def attempts(self) -> Tensor | None:
        """How often each weight was written again on the chip of evaluation mode, in the order of
        the cells; None for never."""
        return None if self.rewrites is None else self.rewrites.attempts

    @property
    def cells_per_weight(self) -> int:
        """The number of cells that hold one weight, without those of a reference column."""
        return self._array.mapping.devices * self._array.profile.array.slices

    def _chip_changed(self) -> None:
        """Forget the chip that is in memory."""
        raise NotImplementedError

    def whole_matrix(self) -> Tensor:
        """The weight to write as one matrix, ``[columns, inputs]``."""
        groups = self._tiling_of_all_rows.to_cells(self._written())
        matrix: Tensor = torch.block_diag(*groups)
        return matrix

    def count_vectors(self, x: Tensor) -> int:
        """The number of vectors that the array multiplies for the layer's input ``x``."""
        shape = self._vectors(torch.empty(x.shape, device="meta")).shape
        return math.prod(self._array.tiling.output_shape_of(tuple(shape), 1))

    # Outside the array; there, dimension 1 is columns or rows.

    def vectors(self, x: Tensor) -> Tensor:
        """The input of the array for ``x``: quantized and scaled, in the shape that the tiling
        multiplies, and in the order of the layer's inputs."""
        return self._scaled(self._quantized_input(x))

    def _scaled(self, quantized: Tensor) -> Tensor:
        vectors = self._vectors(quantized)
        return vectors if self.input_gains is None else self.input_gains.inputs(vectors)

    def scaled_weight(self) -> Tensor:
        """The weight for the array in the order of outputs and inputs, in the dtype of the
        computation."""
        weight = as_dtype(self.effective_weight(), compute_dtype(self.weight))
        return weight if self.input_gains is None else self.input_gains.weights(weight)

    def with_spares(self, matrix: Tensor) -> Tensor:
        """``matrix``, whose first axis is the outputs, with zeros for the spare columns."""
        spares = self._spares
        return add_spares(matrix, self.groups_of_columns, spares) if spares else matrix

    def without_spares(self, t: Tensor, dim: int = 0) -> Tensor:
        """``t`` without the entries of spare columns along ``dim``."""
        spares = self._spares
        return drop_spares(t, self.groups_of_columns, spares, dim) if spares else t

    @property
    def groups_of_columns(self) -> int:
        """The number of groups of columns that have tiles of their own."""
        return self._array.tiling.groups

    @property
    def _spares(self) -> int:
        return self._array.profile.array.spare_columns

    def _array_input(self, x: Tensor) -> Tensor:
        """The input of the array, for the quantized input of the layer."""
        vectors = self._scaled(x)
        return vectors if self.placement is None else self.placement.inputs(vectors)

    def _written(self) -> Tensor:
        """The weight to write on the cells."""
        weight = self.with_spares(self.scaled_weight())
        return weight if self.placement is None else self.placement.written(weight)

    def _unplaced(self, written: Tensor, shifted: bool = True) -> Tensor:
        """The weight of the layer, for one on the cells: the inverse of :meth:`_written`, or
        without ``shifted`` also with what was written in addition."""
        if self.placement is not None:
            back = self.placement.unwritten if shifted else self.placement.read_back
            written = back(written)
        weight = self.without_spares(written)
        return weight if self.input_gains is None else self.input_gains.read_back(weight)

    @property
    def _unused_columns(self) -> Tensor | None:
        """Where columns are spare, in the order of the cells: ``[groups, columns of a group]``;
        None without spare columns."""
        if not self._spares:
            return None
        outputs = torch.ones(self.to_matrix(self.weight.detach().to("meta")).shape[0], device="cpu")
        used = self.with_spares(outputs)
        if self.placement is not None:
            used = used[self.placement.columns.cpu()]
        return used.view(self.groups_of_columns, -1) == 0

    def _column_bias(self, dtype: torch.dtype) -> Tensor | None:
        """The bias to add to the columns."""
        bias = self._array_bias
        if bias is None:
            return None
        bias = self.with_spares(as_dtype(bias, dtype))
        return bias if self.placement is None else self.placement.bias(bias)

    def _layer_output(self, y: Tensor, x: Tensor, *others: Any) -> Tensor:
        """Convert the output of the array to the output of the layer."""
        if self.placement is not None:
            y = self.placement.outputs(y)
        return self._output(self.without_spares(y, 1), x, *others)

    @property
    def _tiling_of_all_rows(self) -> Tiling:
        """The tiling with all inputs of a column on one tile."""
        array = self._array.profile.array
        return type(self).tiling(self, array.model_copy(update={"rows": 1 << 62}))

    def _corrected(self, y: Tensor, x: Tensor, target: Tensor | None, *others: Any) -> Tensor:
        """``y`` through the denoiser, whose ``target`` in training is the digital output, and with
        the adapters; the denoiser leaves to the adapters what they contribute."""
        changes = self._changes_of_adapters(x, *others)
        if self.denoiser is not None:
            left = None if target is None else target - sum(changes)
            y = self.denoiser(y, left, self.columns_dim)
        for change in changes:
            y = y + change.to(y.dtype)
        return y

    def _changes_of_adapters(self, x: Tensor, *others: Any) -> list[Tensor]:
        """What each adapter adds to the output for the input ``x``."""
        shape, changes = self.to_matrix(self.weight).shape, []
        for adapter in () if self.adapters is None else self.adapters.values():
            assert isinstance(adapter, WeightAdapter)
            delta = adapter.delta().to(x.dtype).view(shape)
            changes.append(self._digital(x, delta, *others, bias=False))
        return changes


def require_no_correction(layer: Adapted) -> None:
    """
    Raises:
        CimsimError: if ``layer`` has a correction that a torch layer cannot have.
    """
    extras = {"a denoiser": layer.denoiser, "adapters of its weight": layer.adapters}
    for what, extra in extras.items():
        if extra is not None:
            raise CimsimError(f"layer '{layer.name}' has {what}, which a digital layer cannot have")
