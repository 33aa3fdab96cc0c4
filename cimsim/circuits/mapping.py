"""Mapping of weights to conductances: pairs, cells around mid-range, and slices.

A relative weight ``r = w / scale`` in [-1, 1] is mapped to the conductances of its cells, and
conductances are mapped back to relative weights. There is one physical column for each output and
slice (the slices of an output are ``columns`` apart), and a reference column at the end of each
physical tile of ``array.columns`` columns, if the mapping has references.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from cimsim.profile import ArraySpec, CellSpec, WeightTable
from cimsim.profile.pairs import table_unit_uS


@dataclass(frozen=True)
class Mapping:
    """Mapping of weights to cells; ``span = g_max - g_min``, ``g_mid = (g_min + g_max) / 2``.

    | kind              | cells                                      | relative weight         |
    |-------------------|--------------------------------------------|-------------------------|
    | differential-pair | ``G± = g_min + max(±r, 0) span``           | ``(G+ - G-) / span``    |
    | offset-column     | ``G = g_mid + r span/2``, G_ref = g_mid    | ``2 (G - G_ref) / span`` |
    | single-device     | ``G = g_mid + r span/2``                   | ``2 (G - g_mid) / span`` |
    | offset-current    | ``G = g_mid + r span/2``                   | ``2 (G - g_mid) / span`` |

    The last two differ in the place where ``g_mid`` is subtracted: after the ADC and before it. See
    :class:`cimsim.profile.Pairs` for several pairs per weight.
    The unused cell of a pair has the target ``g_min`` and is programmed like any other. With
    ``levels = n`` states, ``r`` is rounded to the representable values; with ``slices = S``,
    ``|r|`` (or ``(r + 1)/2`` without a pair) is a number of S digits in base n, least significant
    first. The gradient of rounding is the identity (straight-through).
    """

    cell: CellSpec
    array: ArraySpec

    @property
    def span_uS(self) -> float:
        """``g_max - g_min`` in µS."""
        return self.cell.g_max_uS - self.cell.g_min_uS

    @property
    def paired(self) -> bool:
        """True if a weight is the difference of two cells."""
        return self.array.mapping == "differential-pair"

    @property
    def factors(self) -> tuple[float, ...]:
        """Significance of each pair of a weight; ``(1.0,)`` with one pair or none."""
        pairs = self.array.pairs
        return (1.0,) if pairs is None else pairs.significance

    @property
    def devices(self) -> int:
        """Number of cells per weight, or per slice of a weight."""
        return self.array.devices

    @property
    def reference(self) -> bool:
        """True if the last column of each tile has the offset to subtract."""
        return self.array.mapping == "offset-column"

    @property
    def signed_cells(self) -> bool:
        """True if the range of a cell is symmetric around 0, so that there is no offset."""
        return self._middle_uS == 0

    @property
    def digital_offset(self) -> float:
        """Relative current of a mid-range cell, subtracted digitally after the ADC, or 0."""
        return self._offset if self.array.mapping == "single-device" else 0.0

    @property
    def analog_offset(self) -> float:
        """Relative current of a mid-range cell, subtracted exactly before the ADC, or 0."""
        return self._offset if self.array.mapping == "offset-current" else 0.0

    @property
    def full_cell(self) -> float:
        """Contribution of one cell at ``g_max`` and full input to the converted quantity.

        This is its relative current, or, with voltage sensing, the voltage of a column of such
        cells over that of its inputs.
        """
        return 1.0 if self.by_voltage else self.cell.g_max_uS / self._unit_uS

    @property
    def by_voltage(self) -> bool:
        """True if the ADC converts the voltage of a column instead of its current."""
        return self.array.sensing == "voltage"

    def load(self, g_uS: Tensor) -> Tensor:
        """Return the denominator of the columns' voltages, relative to the unit of currents.

        ``g_uS [devices, tiles, columns, rows]`` in µS gives ``[tiles, columns, 1]``.
        """
        return self.signed(g_uS).abs().sum(0).sum(-1, keepdim=True).clamp_min(_SMALLEST_SCALE)

    @property
    def _unit_uS(self) -> float:
        """Sum of significance times conductance for a relative weight of 1."""
        pairs = self.array.pairs
        if not self.paired:
            return self.span_uS / 2
        if pairs is not None and pairs.table is not None:
            return table_unit_uS(pairs.table, pairs.significance)
        return self.span_uS * (self.factors[0] if self._corrects else sum(self.factors))

    @property
    def _corrects(self) -> bool:
        return self.array.pairs is not None and self.array.pairs.writing == "corrected"

    def significance(self) -> tuple[float, ...]:
        """Return the weight of each slice, least significant first; the weights add up to 1.

        ``(n - 1) n^s / (n^S - 1)`` for slice s of S in base n.
        """
        slices, n = self.array.slices, self.cell.levels
        if slices == 1 or n is None:
            return (1.0,)
        return tuple((n - 1) * n**s / (n**slices - 1) for s in range(slices))

    def conductances(self, r: Tensor) -> Tensor:
        """Return the target conductances of the cells in µS.

        ``r [tiles, columns, rows]`` gives ``[devices, tiles, physical columns, rows]``, with two
        devices for a pair. Correcting pairs have the target zero here; see :meth:`corrected`.
        """
        held = torch.cat(self._slices(r), dim=-2) if self.cell.levels is not None else r
        if not self.paired:
            g_uS = (held + 1.0) * (self.span_uS / 2) + self.cell.g_min_uS
            return self.with_references(g_uS, self._middle_uS).unsqueeze(0)
        pairs = self.array.pairs
        if pairs is not None and pairs.table is not None:
            return _interpolated(held, pairs.table)
        cells = self._pair(held)
        if pairs is None:
            return cells
        others = self._pair(torch.zeros_like(held)) if self._corrects else cells
        return torch.cat((cells, *[others] * (len(self.factors) - 1)))

    def corrections(self) -> range:
        """Return the indices of pairs that correct the errors of the pairs before them."""
        return range(1, len(self.factors) if self._corrects else 1)

    def corrected(self, g_uS: Tensor, programmed_uS: Tensor, r: Tensor, pair: int) -> Tensor:
        """Return the targets ``g_uS`` with ``pair`` set to correct the errors of previous pairs.

        ``g_uS`` and ``programmed_uS`` are in µS, ``[devices, tiles, columns, rows]``, for the
        weights ``r [tiles, columns, rows]``.
        """
        missing = r * self.factors[0]
        for before in range(pair):
            plus, minus = programmed_uS[2 * before : 2 * before + 2]
            missing = missing - self.factors[before] * (plus - minus) / self.span_uS
        share = (missing / self.factors[pair]).clamp(-1.0, 1.0)
        (held,) = (share,) if self.cell.levels is None else self._slices(share)
        return torch.cat((g_uS[: 2 * pair], self._pair(held), g_uS[2 * pair + 2 :]))

    def _pair(self, held: Tensor) -> Tensor:
        """Return the targets of both cells of a pair with the weight ``held``, devices first."""
        # max(r, 0) is written as (|r| + r) / 2, whose derivative at 0 is 1/2: the derivatives of
        # the two cells then add up to 1 at a weight of zero, as for all other weights.
        size = held.abs()
        return torch.stack((size + held, size - held)) * (self.span_uS / 2) + self.cell.g_min_uS

    def relative(self, g_uS: Tensor) -> Tensor:
        """Return relative currents of physical columns, ``[tiles, physical columns, rows]``.

        Neither the references nor the digital offset are subtracted. With voltage sensing, the
        result is voltages. ``g_uS`` is ``[devices, tiles, physical columns, rows]``.
        """
        relative = self.signed(g_uS).sum(0)
        if self.by_voltage:
            return relative / self.load(g_uS)
        return relative - self.analog_offset if self.analog_offset else relative

    def signed(self, g_uS: Tensor) -> Tensor:
        """Return the signed relative current of each cell, in the same shape."""
        if not self.paired:
            return g_uS / self._unit_uS
        if self.array.pairs is None:
            return torch.stack((g_uS[0], -g_uS[1])) / self._unit_uS
        return g_uS * self._weights_of_cells(g_uS)

    def weights(self, relative: Tensor) -> Tensor:
        """Subtract the references or the digital offset from the result of :meth:`relative`.

        The result is ``[tiles, slices * columns, rows]``.
        """
        if self.reference:
            return joined([own - of_tile for own, of_tile in self.by_reference(relative, 1)], 1)
        return relative - self.digital_offset if self.digital_offset else relative

    def variances_of_weights(self, variance: Tensor) -> Tensor:
        """Return the variances of :meth:`weights`, ``[tiles, slices * columns, rows]``, from those
        of :meth:`relative`."""
        if self.reference:
            return joined([own + of_tile for own, of_tile in self.by_reference(variance, 1)], 1)
        return variance

    def with_references(self, columns: Tensor, value: float) -> Tensor:
        """Insert the reference columns into ``[..., slices * columns, rows]``: one with ``value``
        behind the weights of each physical tile. Without references, return the tensor itself."""
        if not self.reference:
            return columns
        tiles = columns.split(self.array.weight_columns, -2)
        return joined([F.pad(own, (0, 0, 0, 1), value=value) for own in tiles], -2)

    def without_references(self, columns: Tensor, dim: int) -> Tensor:
        """Inverse of :meth:`with_references`, along ``dim``."""
        if not self.reference:
            return columns
        return joined([own for own, _ in self.by_reference(columns, dim)], dim)

    def by_reference(self, columns: Tensor, dim: int) -> list[tuple[Tensor, Tensor]]:
        """Split the physical ``columns`` along ``dim``: those of each physical tile that hold
        weights, and its reference."""
        tiles = columns.split(self.array.columns, dim)
        return [(t.narrow(dim, 0, t.shape[dim] - 1), t.narrow(dim, -1, 1)) for t in tiles]

    def variances(self, variance_uS2: Tensor) -> Tensor:
        """Return the variances of :meth:`relative` from those of the cells in µS²; same shapes."""
        if self.array.pairs is None:
            return variance_uS2.sum(0) / self._unit_uS**2
        return (variance_uS2 * self._weights_of_cells(variance_uS2).square()).sum(0)

    def _weights_of_cells(self, like: Tensor) -> Tensor:
        """Return the relative current per µS of each cell of a weight, ``[devices, 1, 1, 1]``."""
        signed = [sign * f / self._unit_uS for f in self.factors for sign in (1.0, -1.0)]
        return like.new_tensor(signed).view(-1, 1, 1, 1)

    @property
    def _offset(self) -> float:
        return self._middle_uS / self._unit_uS

    @property
    def _middle_uS(self) -> float:
        return (self.cell.g_min_uS + self.cell.g_max_uS) / 2

    def _slices(self, r: Tensor) -> list[Tensor]:
        """Round ``r`` to representable values; return the relative weights of each slice."""
        n, slices = self.cell.levels, self.array.slices
        assert n is not None
        fixed = r.detach()
        magnitude = fixed.abs() if self.paired else (fixed + 1.0) / 2
        number = (magnitude * (n**slices - 1)).round_()
        parts = []
        for _ in range(slices):
            rest = (number / n).floor_()
            digit = (number - rest * n) / (n - 1)
            number = rest
            value = digit * fixed.sign() if self.paired else digit * 2.0 - 1.0
            parts.append(value + (r - fixed))
        return parts


def _interpolated(r: Tensor, table: WeightTable) -> Tensor:
    """Interpolate the conductances of ``table`` at relative weights ``r``, in µS, cells first."""
    points, g_uS = r.new_tensor(table.r), r.new_tensor(table.g_uS)
    fixed, inner = r.detach().contiguous(), points[1:-1].contiguous()

    def between(low: Tensor) -> Tensor:
        share = (r - points[low]) / (points[low + 1] - points[low])
        return torch.lerp(g_uS[:, low], g_uS[:, low + 1], share)

    # At a point of the table, such as a weight of 0, the slope is the mean of those on both sides.
    below, above = (torch.bucketize(fixed, inner, right=side) for side in (False, True))
    return (between(below) + between(above)) / 2


def joined(parts: list[Tensor], dim: int) -> Tensor:
    """Concatenate ``parts`` along ``dim``; a single one is not copied."""
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim)


_SMALLEST_SCALE = 1e-30  # far below any weight, with a finite reciprocal
_SHARED_BY = {"column": (-1,), "tile": (-2, -1), "layer": (-3, -2, -1)}


def weight_scale(w: Tensor, array: ArraySpec) -> Tensor:
    """Return the weight that corresponds to full conductance: the largest ``|w|``, min. 1e-30.

    ``w [tiles, columns, rows]`` gives ``[tiles, columns, 1]``, the maximum over each column, each
    physical tile (of the first slice), or the whole layer. The floor keeps a column of zeros and
    its gradient finite; the contribution of its cells is then negligible.
    """
    per, abreast = array.weight_scale, [w]
    if per == "tile":
        abreast = list(w.split(array.weight_columns, dim=1))
    scales = [
        part.abs().amax(dim=_SHARED_BY[per], keepdim=True).expand(len(w), part.shape[1], 1)
        for part in abreast
    ]
    return joined(scales, 1).clamp_min(_SMALLEST_SCALE)
