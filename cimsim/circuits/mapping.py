"""Weights on conductances: pairs, cells around the middle of their range, and the digits of slices.

A relative weight ``r = w / scale`` in [-1, 1] becomes the conductances of its cells, and cells
become the relative weight that they stand for. Physical columns are those of the tile: one for
each output and slice (the slices of an output are ``columns`` apart), and after them the reference
where the mapping has one.
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
    """How a weight lies on cells; ``span = g_max - g_min``, ``g_mid`` the middle of the two.

    | kind              | cells                                      | relative weight         |
    |-------------------|--------------------------------------------|-------------------------|
    | differential-pair | ``G± = g_min + max(±r, 0) span``           | ``(G+ - G-) / span``    |
    | offset-column     | ``G = g_mid + r span/2``, G_ref = g_mid    | ``2 (G - G_ref) / span`` |
    | single-device     | ``G = g_mid + r span/2``                   | ``2 (G - g_mid) / span`` |
    | offset-current    | ``G = g_mid + r span/2``                   | ``2 (G - g_mid) / span`` |

    The last two differ in where ``g_mid`` is subtracted: behind the ADC and before it. Several
    pairs that hold one weight are described in :class:`cimsim.profile.Pairs`.
    The cell of a pair that carries nothing rests at ``g_min`` and is programmed like any other.
    With ``levels = n`` states, ``r`` is rounded to what its cells can hold; over ``slices = S`` of
    them ``|r|`` (or ``(r + 1)/2`` without a pair) is a number of S digits in base n, lowest first.
    Gradients pass the rounding straight through.
    """

    cell: CellSpec
    array: ArraySpec

    @property
    def span_uS(self) -> float:
        """``g_max - g_min`` in µS."""
        return self.cell.g_max_uS - self.cell.g_min_uS

    @property
    def paired(self) -> bool:
        """Whether two cells hold one weight."""
        return self.array.mapping == "differential-pair"

    @property
    def factors(self) -> tuple[float, ...]:
        """Significance of each pair that holds a weight; a single 1 where there is one or none."""
        pairs = self.array.pairs
        return (1.0,) if pairs is None else pairs.significance

    @property
    def devices(self) -> int:
        """How many cells hold one weight, or one of its slices."""
        return 2 * len(self.factors) if self.paired else 1

    @property
    def reference(self) -> bool:
        """Whether one more column of each tile holds the offset that is subtracted."""
        return self.array.mapping == "offset-column" and not self.signed_cells

    @property
    def signed_cells(self) -> bool:
        """Whether a cell's own range is symmetric around 0, so that nothing is subtracted."""
        return self._middle_uS == 0

    @property
    def digital_offset(self) -> float:
        """Relative current of a cell in the middle of the range, which is subtracted digitally,
        behind the ADC; 0 where nothing is."""
        return self._offset if self.array.mapping == "single-device" else 0.0

    @property
    def analog_offset(self) -> float:
        """The same where an exact current is subtracted before the ADC."""
        return self._offset if self.array.mapping == "offset-current" else 0.0

    @property
    def full_cell(self) -> float:
        """What one cell at ``g_max`` and full input adds to what is converted: its relative
        current, or a column's voltage over that of its inputs if all cells were like this one."""
        return 1.0 if self.by_voltage else self.cell.g_max_uS / self._unit_uS

    @property
    def by_voltage(self) -> bool:
        """Whether the voltage of a column is converted, and not its current."""
        return self.array.sensing == "voltage"

    def load(self, g_uS: Tensor) -> Tensor:
        """The sum that a column's voltage has as its denominator, relative to the unit of its
        currents: ``[tiles, columns, 1]`` of cells ``[devices, tiles, columns, rows]`` in µS."""
        return self.signed(g_uS).abs().sum(0).sum(-1, keepdim=True).clamp_min(_SMALLEST_SCALE)

    @property
    def _unit_uS(self) -> float:
        """The sum of significance times conductance for a relative weight of 1."""
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
        """What each slice counts for, lowest first; they add up to 1.

        ``(n - 1) n^s / (n^S - 1)`` for slice s of S in base n.
        """
        slices, n = self.array.slices, self.cell.levels
        if slices == 1 or n is None:
            return (1.0,)
        return tuple((n - 1) * n**s / (n**slices - 1) for s in range(slices))

    def conductances(self, r: Tensor) -> Tensor:
        """Target conductances in µS of the cells.

        ``r [tiles, columns, rows]`` gives ``[devices, tiles, slices * columns (+ 1), rows]``, with
        two devices for a pair and the reference column last where cells hold it. Pairs that correct
        others rest, see :meth:`corrected`.
        """
        held = torch.cat(self._slices(r), dim=-2) if self.cell.levels is not None else r
        if not self.paired:
            g_uS = (held + 1.0) * (self.span_uS / 2) + self.cell.g_min_uS
            if self.reference:
                g_uS = F.pad(g_uS, (0, 0, 0, 1), value=self._middle_uS)
            return g_uS.unsqueeze(0)
        pairs = self.array.pairs
        if pairs is not None and pairs.table is not None:
            return _interpolated(held, pairs.table)
        cells = self._pair(held)
        if pairs is None:
            return cells
        others = self._pair(torch.zeros_like(held)) if self._corrects else cells
        return torch.cat((cells, *[others] * (len(self.factors) - 1)))

    def corrections(self) -> range:
        """The pairs that are written after others, with what these have missed."""
        return range(1, len(self.factors) if self._corrects else 1)

    def corrected(self, g_uS: Tensor, programmed_uS: Tensor, r: Tensor, pair: int) -> Tensor:
        """Targets ``g_uS`` with those of ``pair``, which makes up for what the ``programmed_uS``
        pairs before it have missed.

        Both are in µS, ``[devices, tiles, columns, rows]``, and of ``r [tiles, columns, rows]``.
        """
        missing = r * self.factors[0]
        for before in range(pair):
            plus, minus = programmed_uS[2 * before : 2 * before + 2]
            missing = missing - self.factors[before] * (plus - minus) / self.span_uS
        share = (missing / self.factors[pair]).clamp(-1.0, 1.0)
        (held,) = (share,) if self.cell.levels is None else self._slices(share)
        return torch.cat((g_uS[: 2 * pair], self._pair(held), g_uS[2 * pair + 2 :]))

    def _pair(self, held: Tensor) -> Tensor:
        """Both cells of a pair that holds ``held``, devices first."""
        # max(r, 0) = (|r| + r) / 2, so written because its slope at 0 is 1/2: the slopes of the two
        # cells then add up to 1 at a weight of exactly zero, as they do everywhere else.
        size = held.abs()
        return torch.stack((size + held, size - held)) * (self.span_uS / 2) + self.cell.g_min_uS

    def relative(self, g_uS: Tensor) -> Tensor:
        """Relative currents of the physical columns, ``[tiles, slices * columns (+ 1), rows]``.

        The reference, where there is one, is the last column and not yet subtracted, and neither is
        the digital offset. Voltages instead where these are converted. ``g_uS [devices, tiles,
        columns, rows]``.
        """
        relative = self.signed(g_uS).sum(0)
        if self.by_voltage:
            return relative / self.load(g_uS)
        return relative - self.analog_offset if self.analog_offset else relative

    def signed(self, g_uS: Tensor) -> Tensor:
        """Relative current of each cell by itself; same shape, devices first."""
        if not self.paired:
            return g_uS / self._unit_uS
        if self.array.pairs is None:
            return torch.stack((g_uS[0], -g_uS[1])) / self._unit_uS
        return g_uS * self._weights_of_cells(g_uS)

    def weights(self, relative: Tensor) -> Tensor:
        """:meth:`relative` with the reference or the digital offset subtracted, ``[tiles, slices *
        columns, rows]``."""
        if self.reference:
            return relative[:, :-1] - relative[:, -1:]
        return relative - self.digital_offset if self.digital_offset else relative

    def variances(self, variance_uS2: Tensor) -> Tensor:
        """Variances of :meth:`relative` from those of the cells, in µS²; same shapes."""
        if self.array.pairs is None:
            return variance_uS2.sum(0) / self._unit_uS**2
        return (variance_uS2 * self._weights_of_cells(variance_uS2).square()).sum(0)

    def _weights_of_cells(self, like: Tensor) -> Tensor:
        """What a µS of each cell of several pairs counts for, ``[devices, 1, 1, 1]``."""
        signed = [sign * f / self._unit_uS for f in self.factors for sign in (1.0, -1.0)]
        return like.new_tensor(signed).view(-1, 1, 1, 1)

    @property
    def _offset(self) -> float:
        return self._middle_uS / self._unit_uS

    @property
    def _middle_uS(self) -> float:
        return (self.cell.g_min_uS + self.cell.g_max_uS) / 2

    def _slices(self, r: Tensor) -> list[Tensor]:
        """``r`` as its cells can hold it: one tensor of relative weights for each slice."""
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
    """The conductances of ``table`` for relative weights ``r``, in µS, cells first."""
    at, g_uS = r.new_tensor(table.r), r.new_tensor(table.g_uS)
    low = torch.bucketize(r.detach().contiguous(), at[1:-1].contiguous())
    share = (r - at[low]) / (at[low + 1] - at[low])
    return torch.lerp(g_uS[:, low], g_uS[:, low + 1], share)


_SMALLEST_SCALE = 1e-30  # far below any weight, and its reciprocal far from overflow
_SHARED_BY = {"column": (-1,), "tile": (-2, -1), "layer": (-3, -2, -1)}


def weight_scale(w: Tensor, per: str = "column") -> Tensor:
    """The weight that full conductance stands for: the largest ``|w|``, at least 1e-30.

    ``w [tiles, columns, rows]`` gives ``[tiles, columns, 1]``, the largest of each column, tile or
    the whole layer. The floor keeps a column of zeros, and its gradient, finite; whatever its
    cells do counts for nothing.
    """
    scale = w.abs().amax(dim=_SHARED_BY[per], keepdim=True).clamp_min(_SMALLEST_SCALE)
    return scale.expand(w.shape[0], w.shape[1], 1)
